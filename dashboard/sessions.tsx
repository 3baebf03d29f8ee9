import type { UserList } from '../openapi/schemas/account.ts'
import type { RevokedSessions, SessionList } from '../openapi/schemas/session.ts'
import { useAction, useMayAct } from './action.ts'
import { get, send, withQuery } from './api.ts'
import { useAsk } from './ask.tsx'
import type { ViewProps } from './console.tsx'
import { formatAge } from './format.ts'
import { Outcome, Problem } from './outcome.tsx'
import { useReading } from './reading.ts'
import { go, hashOf } from './route.ts'
import { SearchBox } from './search-box.tsx'
import { Table } from './table.tsx'

/** Who is logged in where: a user is searched by name, and then has a list of devices. */
export function Sessions({ parameters }: ViewProps) {
  const { user = '', name = '' } = parameters
  const { value, problem } = useReading(
    () => get<UserList>(withQuery('users', { prefix: name, limit: 20 })),
    [name],
    5_000,
  )
  return (
    <>
      <div class="bar">
        <SearchBox
          label="Users whose name begins with"
          value={name}
          onSearch={(text) => go('sessions', { name: text })}
        />
        <SearchBox label="Id of a user" value={user} onSearch={(id) => go('sessions', { name, user: id })} />
      </div>
      <Problem text={problem} />
      <ul class="names" aria-label="Users">
        {value?.users.map(({ id, username }) => (
          <li key={id}>
            <a href={hashOf('sessions', { name, user: id })} aria-current={id === user ? 'true' : undefined}>
              {username}
            </a>
          </li>
        ))}
      </ul>
      {user && <Devices key={user} userId={user} name={value?.users.find(({ id }) => id === user)?.username ?? user} />}
    </>
  )
}

function Devices({ userId, name }: { userId: string; name: string }) {
  const mayAct = useMayAct('sessions:revoke')
  const ask = useAsk()
  const { value, problem, again } = useReading(() => get<SessionList>(withQuery('sessions', { userId })), [userId])
  const { run, busy, outcome } = useAction(again)
  const sessions = value?.sessions ?? []

  const end = (handle: string, current: boolean) =>
    run(async () => {
      const text = current
        ? 'This is the session that you use now: you will be logged out.'
        : 'The device is logged out at once.'
      if ((await ask({ title: `End a session of ${name}?`, text, action: 'End session' })) === undefined)
        return undefined
      await send('DELETE', withQuery(`sessions/${encodeURIComponent(handle)}`, { userId }))
      return 'The session is ended.'
    })
  const endAll = () =>
    run(async () => {
      const text = 'Every device is logged out at once, on all instances. Of your own sessions, this one stays.'
      if ((await ask({ title: `End all sessions of ${name}?`, text, action: 'End all' })) === undefined)
        return undefined
      const { revoked } = await send<RevokedSessions>('DELETE', withQuery('sessions', { userId }))
      return `Sessions that are ended: ${revoked}.`
    })

  return (
    <>
      <Problem text={problem} />
      <Table
        caption={`Sessions of ${name}`}
        columns={['Device', 'Address', 'Began', 'Used', ...(mayAct ? ['Actions'] : [])]}
        empty={value ? 'Nobody is logged in as this user.' : 'Waiting for the server…'}
        rows={sessions.map(({ handle, current, userAgent, ip, createdAt, lastActivity }) => ({
          key: handle,
          cells: [
            `${userAgent ?? 'unknown'}${current ? ' (this one)' : ''}`,
            ip ?? '–',
            formatAge(createdAt),
            formatAge(lastActivity),
            ...(mayAct
              ? [
                  <button key="end" type="button" disabled={busy} onClick={() => end(handle, current)}>
                    End
                  </button>,
                ]
              : []),
          ],
        }))}
      />
      {mayAct && sessions.length > 0 && (
        <div class="bar">
          <button type="button" class="danger" disabled={busy} onClick={endAll}>
            End all sessions of {name}
          </button>
        </div>
      )}
      <Outcome outcome={outcome} />
    </>
  )
}
