import { useEffect, useState } from 'preact/hooks'
import type { PresenceMember } from '../../client/index.ts'
import type { StateSpaces } from '../../openapi/schemas/state.ts'
import type { SyncNodes } from '../../openapi/schemas/sync.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, send } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { Choice } from '../choice.tsx'
import type { ViewProps } from '../console.tsx'
import { formatAge, formatBytes, formatCount } from '../format.ts'
import { live } from '../live.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { useReading } from '../reading.ts'
import { go, hashOf } from '../route.ts'
import { Table } from '../table.tsx'
import { Trace } from './trace.tsx'

/** In the address, instead of a connection: the whole space is traced. */
const SPACE = 'space'

/** The live connections of all instances, what they exchange, and who is seen in a space. */
export function Sync({ parameters: { space = 'app', trace = '' } }: ViewProps) {
  const mayAct = useMayAct('nodes:disconnect')
  const ask = useAsk()
  const { value, problem, again } = useReading(() => get<SyncNodes>('sync/nodes?scope=cluster'), [])
  const { run, busy, outcome } = useAction(again)

  const disconnect = (id: string) =>
    run(async () => {
      const text = 'The client is told to connect again. To keep somebody out, end the session instead.'
      if ((await ask({ title: 'End this connection?', text, action: 'Disconnect' })) === undefined) return undefined
      await send('DELETE', `sync/nodes/${encodeURIComponent(id)}`)
      return 'The connection is ended.'
    })

  return (
    <>
      <Problem text={problem} />
      {value?.unanswered ? <p class="error">Instances that did not answer: {value.unanswered}.</p> : null}
      <Outcome outcome={outcome} />
      <Table
        caption="Connections"
        columns={[
          'User',
          'By',
          'Address',
          'Spaces',
          'Topics',
          'Lag',
          'Waiting',
          'Sent, received',
          'Since',
          'Heard',
          'Actions',
        ]}
        empty={value ? 'Nobody is connected.' : 'Waiting for the server…'}
        rows={(value?.nodes ?? []).map((node) => ({
          key: node.id,
          cells: [
            nameOf(node.userId),
            node.transport,
            node.address,
            node.spaces.join(', ') || '–',
            formatCount(node.subscriptions),
            `${formatCount(node.lag)}\u00a0rev.`,
            formatBytes(node.buffered),
            `${formatBytes(node.sentBytes)}, ${formatBytes(node.receivedBytes)}`,
            formatAge(node.connectedAt),
            formatAge(node.lastSeen),
            <div key="actions" class="buttons">
              <a href={hashOf('sync', { space, trace: node.id })} aria-current={trace === node.id ? 'true' : undefined}>
                Trace<span class="unseen"> of {nameOf(node.userId)}</span>
              </a>
              {mayAct && (
                <button type="button" disabled={busy} onClick={() => disconnect(node.id)}>
                  Disconnect
                </button>
              )}
            </div>,
          ],
        }))}
      />
      <h2>Messages</h2>
      {trace === '' ? (
        <p>
          <a href={hashOf('sync', { space, trace: SPACE })}>Trace the space {space}</a>, or one of the connections
          above: messages as they come, without their values.
        </p>
      ) : (
        <Trace subject={trace === SPACE ? { space } : { node: trace }} stop={hashOf('sync', { space })} />
      )}
      <h2>Presence</h2>
      <Members space={space} trace={trace} />
    </>
  )
}

/** Ids that are long are told apart by their beginning. */
function nameOf(userId: string | undefined): string {
  if (userId === undefined) return 'anonymous'
  return userId.length > 20 ? `${userId.slice(0, 8)}…` : userId
}

function Members({ space, trace }: { space: string; trace: string }) {
  const spaces = useReading(() => get<StateSpaces>('state/spaces'), [], 5_000).value?.spaces ?? []
  const [members, setMembers] = useState<readonly PresenceMember[]>([])
  useEffect(() => {
    const presence = live().presence(space)
    const show = () => setMembers(presence.members())
    show()
    const stop = presence.subscribe(show)
    return () => {
      stop()
      presence.close()
    }
  }, [space])
  return (
    <>
      <div class="bar">
        <Choice
          label="Space"
          value={space}
          options={[...new Set([space, ...spaces])].map((name) => [name, name])}
          onChoose={(chosen) => go('sync', { space: chosen, trace })}
        />
      </div>
      <Table
        caption={`Who is seen in ${space}`}
        columns={['User', 'Shows', 'Since']}
        empty="Nobody shows themselves there."
        rows={members.map(({ node, userId, data, connectedAt }) => ({
          key: node,
          cells: [nameOf(userId), data === undefined ? '–' : JSON.stringify(data), formatAge(connectedAt)],
        }))}
      />
    </>
  )
}
