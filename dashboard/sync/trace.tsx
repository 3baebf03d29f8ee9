import { useEffect, useState } from 'preact/hooks'
import type { SyncTraced } from '../../openapi/schemas/sync.ts'
import { withQuery } from '../api.ts'
import { formatBytes, formatCount } from '../format.ts'
import { Table } from '../table.tsx'

type Subject = { node: string } | { space: string }
/** What comes over the stream; heartbeats and goodbyes are of other types. */
type Event = SyncTraced | { type: 'traceEnd' } | { type: 'revoked' } | { type: 'heartbeat' } | { type: 'error' }

/** The latest so many are shown. */
const MAX_ROWS = 100

const times = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' })

/** Messages as they come, while somebody looks: a hidden page asks for none. */
export function Trace({ subject, stop }: { subject: Subject; stop: string }) {
  const [messages, setMessages] = useState<readonly (SyncTraced & { key: number })[]>([])
  const [missed, setMissed] = useState(0)
  const [standing, setStanding] = useState<'connecting' | 'live' | 'ended' | 'refused'>('connecting')
  const url = withQuery('sync/trace', subject)

  useEffect(() => {
    let source: EventSource | undefined
    let count = 0
    let over = false
    const hear = () => {
      if (source || over || document.hidden) return
      setStanding('connecting')
      source = new EventSource(url)
      source.onopen = () => setStanding('live')
      source.onmessage = ({ data }) => {
        const event = JSON.parse(data as string) as Event
        if (event.type === 'traced') {
          setMissed((so) => so + event.missed)
          setMessages((so) => [{ ...event, key: ++count }, ...so].slice(0, MAX_ROWS))
        }
        if (event.type === 'traceEnd' || event.type === 'revoked') {
          over = true
          close()
          setStanding('ended')
        }
      }
      source.onerror = () => {
        // A stream that was cut is tried again by the browser itself; one that was refused is not.
        setStanding(source?.readyState === EventSource.CLOSED ? 'refused' : 'connecting')
      }
    }
    const close = () => {
      source?.close()
      source = undefined
    }
    const look = () => (document.hidden ? close() : hear())
    setMessages([])
    setMissed(0)
    hear()
    document.addEventListener('visibilitychange', look)
    return () => {
      document.removeEventListener('visibilitychange', look)
      close()
    }
  }, [url])

  const what = 'node' in subject ? `connection ${subject.node.slice(0, 8)}` : `space ${subject.space}`
  const said = {
    connecting: 'Connecting…',
    live: 'Live; it ends by itself after five minutes.',
    ended: 'It has ended after five minutes.',
    refused: 'The server shows none: the connection has ended, or too many traces are open.',
  }[standing]
  return (
    <>
      <p class="bar">
        <span role="status">{said}</span>
        {missed > 0 && <span class="muted">Not shown, as there were too many: {formatCount(missed)}.</span>}
        <a href={stop}>Stop</a>
      </p>
      <Table
        caption={`Messages of the ${what}`}
        columns={['At', 'Direction', 'Message', 'About', 'Size', 'Connection']}
        empty="None yet."
        rows={messages.map(({ key, at, direction, message, bytes, node }) => ({
          key: `${key}`,
          cells: [
            times.format(at),
            direction,
            message.type,
            <code key="about">{about(message)}</code>,
            formatBytes(bytes),
            node.slice(0, 8),
          ],
        }))}
      />
    </>
  )
}

interface Shown {
  op?: string
  key?: string
  value?: { type: string; bytes: number }
  revision?: number
  left?: number
  ops?: Shown[]
}

/** The operations in words, or what else the message says. */
function about({ type, ...message }: SyncTraced['message']): string {
  const { ops, changes, ...rest } = message as { ops?: Shown[]; changes?: Shown[] }
  const operations = [
    ...(ops ?? []),
    ...(changes ?? []).flatMap(({ ops = [], left }) => [...ops, ...(left ? [{ left }] : [])]),
  ]
  if (operations.length === 0) return JSON.stringify(rest)
  return operations
    .map(({ op, key, value, left }) => {
      if (left !== undefined) return `and ${left} more`
      return value ? `${op} ${key} (${value.type}, ${formatBytes(value.bytes)})` : `${op} ${key}`
    })
    .join(', ')
}
