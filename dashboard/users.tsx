import { useState } from 'preact/hooks'
import type { NewUser, UserChange, UserList } from '../openapi/schemas/account.ts'
import type { Profile } from '../openapi/schemas/auth.ts'
import { ROLES } from '../openapi/schemas/roles.ts'
import type { Role, User } from '../openapi/schemas/user.ts'
import { useAction, useMayAct } from './action.ts'
import { get, RequestError, send, withQuery } from './api.ts'
import { type Ask, useAsk } from './ask.tsx'
import type { ViewProps } from './console.tsx'
import { Outcome, Problem } from './outcome.tsx'
import { useReading } from './reading.ts'
import { go, hashOf } from './route.ts'
import { SearchBox } from './search-box.tsx'
import { Table } from './table.tsx'

/** Those who may least first: a new account is a user. */
const CHOICES: readonly Role[] = [...ROLES].reverse()
const MIN_PASSWORD = 8

/** The accounts: list, create, disable, delete, reset the password, give a role. */
export function Users({ parameters: { name = '', cursor = '' } }: ViewProps) {
  const mayAct = useMayAct('users:administer')
  const ask = useAsk()
  const { value, problem, again } = useReading(
    () => get<UserList>(withQuery('users', { prefix: name, cursor, limit: 50 })),
    [name, cursor],
  )
  const { run, busy, outcome } = useAction(again)

  const change = (user: User, what: UserChange, done: string) =>
    run(async () => {
      await withProof(ask, (proof) => send('PATCH', `users/${encodeURIComponent(user.id)}`, { ...what, ...proof }))
      return done
    })
  const changeAfter = (user: User, title: string, text: string, action: string, what: UserChange, done: string) =>
    run(async () => {
      if ((await ask({ title, text, action })) === undefined) return undefined
      await withProof(ask, (proof) => send('PATCH', `users/${encodeURIComponent(user.id)}`, { ...what, ...proof }))
      return done
    })
  const resetPassword = (user: User) =>
    run(async () => {
      const password = await ask({
        title: `Set a new password for ${user.username}?`,
        text: 'All sessions of the user end.',
        action: 'Set password',
        password: { label: 'New password', autocomplete: 'new-password', minLength: MIN_PASSWORD },
      })
      if (password === undefined) return undefined
      await withProof(ask, (proof) => send('PATCH', `users/${encodeURIComponent(user.id)}`, { password, ...proof }))
      return `${user.username} has the new password.`
    })

  const remove = (user: User) =>
    run(async () => {
      const text = 'The account is gone for good, and all of its sessions end.'
      if ((await ask({ title: `Delete ${user.username}?`, text, action: 'Delete' })) === undefined) return undefined
      await withFreshLogin(ask, () => send('DELETE', `users/${encodeURIComponent(user.id)}`))
      return `${user.username} is deleted.`
    })

  return (
    <>
      <div class="bar">
        <SearchBox label="Name begins with" value={name} onSearch={(text) => go('users', { name: text })} />
      </div>
      <Problem text={problem} />
      <Outcome outcome={outcome} />
      <Table
        caption="Users"
        columns={['Name', 'Role', 'Login', 'Sessions', ...(mayAct ? ['Actions'] : [])]}
        empty={value ? 'There is no such user.' : 'Waiting for the server…'}
        rows={(value?.users ?? []).map((user) => ({
          key: user.id,
          cells: [
            user.displayName ? `${user.username} (${user.displayName})` : user.username,
            mayAct ? (
              <select
                key="role"
                aria-label={`Role of ${user.username}`}
                disabled={busy}
                value={user.role}
                onChange={(event) => {
                  const role = event.currentTarget.value as Role
                  event.currentTarget.value = user.role
                  void changeAfter(
                    user,
                    `Make ${user.username} ${role === 'user' ? 'a' : 'an'} ${role}?`,
                    'All sessions of the user end.',
                    'Change role',
                    { role },
                    `${user.username} is ${role === 'user' ? 'a' : 'an'} ${role} now.`,
                  )
                }}
              >
                {CHOICES.map((role) => (
                  <option key={role}>{role}</option>
                ))}
              </select>
            ) : (
              user.role
            ),
            user.disabled ? 'disabled' : 'possible',
            <a key="sessions" href={hashOf('sessions', { user: user.id, name: user.username })}>
              devices<span class="unseen"> of {user.username}</span>
            </a>,
            ...(mayAct
              ? [
                  <span key="actions" class="buttons">
                    {user.disabled ? (
                      <button
                        type="button"
                        disabled={busy}
                        onClick={() => change(user, { disabled: false }, `${user.username} can log in again.`)}
                      >
                        Enable
                      </button>
                    ) : (
                      <button
                        type="button"
                        disabled={busy}
                        onClick={() =>
                          changeAfter(
                            user,
                            `Disable ${user.username}?`,
                            'Nobody can log in to the account, and all of its sessions end.',
                            'Disable',
                            { disabled: true },
                            `${user.username} is disabled.`,
                          )
                        }
                      >
                        Disable
                      </button>
                    )}
                    <button type="button" disabled={busy} onClick={() => resetPassword(user)}>
                      Reset password
                    </button>
                    <button type="button" class="danger" disabled={busy} onClick={() => remove(user)}>
                      Delete
                    </button>
                  </span>,
                ]
              : []),
          ],
        }))}
      />
      {value?.cursor && (
        <p>
          <a href={hashOf('users', { name, cursor: value.cursor })}>Next page</a>
        </p>
      )}
      {mayAct && <NewAccount onCreate={again} />}
    </>
  )
}

function NewAccount({ onCreate }: { onCreate: () => Promise<void> }) {
  const ask = useAsk()
  const { run, busy, outcome } = useAction(onCreate)
  const [account, setAccount] = useState<NewUser>({ username: '', password: '', role: 'user' })
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        void run(async () => {
          await withProof(ask, (proof) => send('POST', 'users', { ...account, ...proof }))
          setAccount({ username: '', password: '', role: 'user' })
          return `${account.username} is created.`
        })
      }}
    >
      <h2>Create a user</h2>
      <div class="bar">
        <label class="choice">
          Name
          <input
            required
            maxLength={128}
            autocomplete="off"
            autocapitalize="none"
            value={account.username}
            onInput={(event) => setAccount({ ...account, username: event.currentTarget.value })}
          />
        </label>
        <label class="choice">
          Password
          <input
            type="password"
            required
            minLength={MIN_PASSWORD}
            maxLength={128}
            autocomplete="new-password"
            value={account.password}
            onInput={(event) => setAccount({ ...account, password: event.currentTarget.value })}
          />
        </label>
        <label class="choice">
          Role
          <select
            value={account.role}
            onChange={(event) => setAccount({ ...account, role: event.currentTarget.value as Role })}
          >
            {CHOICES.map((role) => (
              <option key={role}>{role}</option>
            ))}
          </select>
        </label>
        <button type="submit" disabled={busy}>
          Create
        </button>
      </div>
      <Outcome outcome={outcome} />
    </form>
  )
}

/** Some changes take a login of the last minutes, or the password of who makes them. */
async function withProof(ask: Ask, change: (proof: { currentPassword?: string }) => Promise<unknown>): Promise<void> {
  try {
    await change({})
  } catch (error) {
    await change({ currentPassword: await askOwnPassword(ask, error) })
  }
}

/** A deletion has no body for the password: who makes it logs in again, if that was some time ago. */
async function withFreshLogin(ask: Ask, change: () => Promise<unknown>): Promise<void> {
  try {
    await change()
  } catch (error) {
    const password = await askOwnPassword(ask, error)
    const { user } = await get<Profile>('profile')
    await send('POST', 'login', { username: user.username, password })
    await change()
  }
}

/** @throws the error, if no password would help, or if they would rather not */
async function askOwnPassword(ask: Ask, error: unknown): Promise<string> {
  if (!(error instanceof RequestError && error.code === 'STATEFUL_FRESH_LOGIN_REQUIRED')) throw error
  const password = await ask({
    title: 'Is it you?',
    text: 'Your login is some time ago.',
    action: 'Continue',
    password: { label: 'Your own password', autocomplete: 'current-password' },
  })
  if (password === undefined) throw error
  return password
}
