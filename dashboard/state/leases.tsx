import { useEffect, useRef, useState } from 'preact/hooks'
import type { Json } from '../../client/index.ts'
import { beatKey, leaseKey } from '../../plugins/state/leases/proof.ts'
import { useAction, useMayAct } from '../action.ts'
import { RequestError, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { formatDuration } from '../format.ts'
import { Outcome } from '../outcome.tsx'
import { Table } from '../table.tsx'
import { readKey, write } from './key-reading.ts'
import { useLive } from './use-live.ts'

interface Held {
  name: string
  holder: string
  process: string
  /** Milliseconds. */
  ttl: number
  /** Another one: its holder has just said that it is there. */
  beat: string
}

/** Who holds the leases of a space, and when each was renewed, as far as this page has seen it. */
export function Leases({ space }: { space: string }) {
  const mayAct = useMayAct('state:write')
  const ask = useAsk()
  const { values } = useLive(space, PREFIX)
  const leases = heldIn(values)
  const seen = useSeen(leases)
  const { run, busy, outcome } = useAction()

  const release = ({ name, ttl }: Held) =>
    run(async () => {
      const [lease, beat] = [leaseKey(name), beatKey(name)].map((key) =>
        withQuery(`state/keys/${encodeURIComponent(key)}`, { space }),
      ) as [string, string]
      const [found, last] = await Promise.all([readKey(lease), readKey(beat)])
      const text = `The next one may take it at once. The present holder is told at its next renewal, within ${formatDuration(ttl / 3_000)}, and may go on until then: only what it writes with compareLease is refused at once.`
      if ((await ask({ title: `Release the lease ${name}?`, text, action: 'Release' })) === undefined) return undefined
      try {
        await write(lease, found, undefined, 'keep')
      } catch (error) {
        if (!(error instanceof RequestError && error.status === 412)) throw error
        throw new Error('It has changed hands meanwhile: nothing was released.')
      }
      // What the holder or the next one has said since then stays.
      await write(beat, last, undefined, 'keep').catch(() => {})
      return `The lease ${name} is released.`
    })

  if (leases.length === 0 && outcome === undefined) return null
  return (
    <>
      <h2>Leases</h2>
      <Outcome outcome={outcome} />
      <Table
        caption={`Leases of ${space}`}
        columns={['Lease', 'Holder', 'Process', 'Lasts', 'Ends', ...(mayAct ? ['Actions'] : [])]}
        empty="Nobody holds one."
        rows={leases.map((lease) => ({
          key: lease.name,
          cells: [
            lease.name,
            <code key="holder">{lease.holder}</code>,
            <code key="process">{lease.process}</code>,
            formatDuration(lease.ttl / 1_000),
            ending(lease, seen.get(lease.name)?.at),
            ...(mayAct
              ? [
                  <button key="release" type="button" class="danger" disabled={busy} onClick={() => release(lease)}>
                    Release
                  </button>,
                ]
              : []),
          ],
        }))}
      />
    </>
  )
}

/** What the keys of leases and of their beats begin with. */
const PREFIX = 'lease'
const LEASE = leaseKey('')

function heldIn(values: Readonly<Record<string, Json>>): Held[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (!key.startsWith(LEASE)) return []
    const { holder, process, ttl } = (value ?? {}) as { holder?: unknown; process?: unknown; ttl?: unknown }
    if (typeof holder !== 'string' || typeof process !== 'string' || typeof ttl !== 'number') return []
    const name = key.slice(LEASE.length)
    return [{ name, holder, process, ttl, beat: `${holder} ${values[beatKey(name)]}` }]
  })
}

/** When this page saw the last beat of each: no clock but its own is asked. */
function useSeen(leases: readonly Held[]): ReadonlyMap<string, { beat: string; at: number }> {
  const seen = useRef(new Map<string, { beat: string; at: number }>())
  const [, setTick] = useState(0)
  useEffect(() => {
    const timer = window.setInterval(() => setTick((tick) => tick + 1), 1_000)
    return () => window.clearInterval(timer)
  }, [])
  const next = new Map<string, { beat: string; at: number }>()
  for (const { name, beat } of leases) {
    const known = seen.current.get(name)
    next.set(name, known?.beat === beat ? known : { beat, at: performance.now() })
  }
  seen.current = next
  return next
}

function ending({ ttl }: Held, at = performance.now()): string {
  const left = at + ttl - performance.now()
  return left > 0 ? `in ${formatDuration(left / 1_000)}, unless it is renewed` : 'is over: the next one may take it'
}
