import type { CacheWriters, DeadLetters, DeadLettersRetried, WaitingWrites } from '../../openapi/schemas/cache.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, send, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { formatAge, formatCount } from '../format.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { emptyOf, useReading } from '../reading.ts'
import { hashOf } from '../route.ts'
import { Table } from '../table.tsx'

/** The write-behind handlers: what waits for each, and what one has refused for good. */
export function Writers({ chosen }: { chosen: string | undefined }) {
  const { value, problem } = useReading(() => get<CacheWriters>('cache/writers'), [])
  return (
    <>
      <h2>Write-behind</h2>
      <Problem text={problem} />
      <Table
        caption="Handlers"
        columns={['Name', 'Waiting', 'Written', 'Tried again', 'Refused for good']}
        empty={emptyOf({ value, problem }, 'There are none.')}
        rows={(value?.writers ?? []).map(({ name, pending, written, retried, dead }) => ({
          key: name,
          cells: [
            <a key="name" href={hashOf('cache', { writer: name })} aria-current={name === chosen ? 'true' : undefined}>
              {name}
            </a>,
            formatCount(pending),
            formatCount(written),
            formatCount(retried),
            formatCount(dead),
          ],
        }))}
      />
      {chosen === undefined ? null : (
        <div class="halves">
          <Waiting key={`waiting ${chosen}`} writer={chosen} />
          <Letters key={chosen} writer={chosen} />
        </div>
      )}
    </>
  )
}

/** The most writes of a list; their number stands beside the handler. */
const WAITING = 50

function Waiting({ writer }: { writer: string }) {
  const path = withQuery(`cache/writers/${encodeURIComponent(writer)}/waiting`, { limit: WAITING })
  const { value, problem } = useReading(() => get<WaitingWrites>(path), [path])
  const writes = value?.writes ?? []
  return (
    <div>
      <Problem text={problem} />
      <Table
        caption={
          writes.length === WAITING ? `The first ${WAITING} that wait for ${writer}` : `What waits for ${writer}`
        }
        columns={['Key', 'Namespace', 'Number', 'Waits since', 'Tried in vain']}
        empty={emptyOf({ value, problem }, 'Nothing waits.')}
        rows={writes.map(({ id, namespace, key, since, attempts }) => ({
          key: `${namespace} ${key}`,
          cells: [key, namespace, <code key="number">{id}</code>, formatAge(since), formatCount(attempts)],
        }))}
      />
    </div>
  )
}

function Letters({ writer }: { writer: string }) {
  const mayAct = useMayAct('writers:retry')
  const ask = useAsk()
  const path = `cache/writers/${encodeURIComponent(writer)}/dead-letters`
  const { value, problem, again } = useReading(() => get<DeadLetters>(path), [path])
  const { run, busy, outcome } = useAction(again)
  const letters = value?.letters ?? []
  const retry = (ids?: string[]) =>
    run(async () => {
      const title = ids ? 'Hand this write over again?' : `Hand all refused writes of ${writer} over again?`
      const text =
        'They come behind everything that waits. Where a newer write of a key waits, the old one is forgotten.'
      if ((await ask({ title, text, action: 'Retry' })) === undefined) return undefined
      const { retried } = await send<DeadLettersRetried>('POST', `${path}/retry`, ids ? { ids } : {})
      return `Writes that wait again: ${retried}.`
    })
  return (
    <div>
      <Problem text={problem} />
      <Table
        caption={`Dead letters of ${writer}`}
        columns={['Key', 'Namespace', 'Why', 'When', 'Value', ...(mayAct ? ['Actions'] : [])]}
        empty={emptyOf({ value, problem }, 'Nothing was refused for good.')}
        rows={letters.map(({ id, key, namespace, reason, at, value: written }) => ({
          key: id,
          cells: [
            key,
            namespace,
            reason,
            formatAge(at),
            <code key="value">{JSON.stringify(written).slice(0, 120)}</code>,
            ...(mayAct
              ? [
                  <button key="retry" type="button" disabled={busy} onClick={() => retry([id])}>
                    Retry
                  </button>,
                ]
              : []),
          ],
        }))}
      />
      {mayAct && letters.length > 0 && (
        <div class="bar">
          <button type="button" disabled={busy} onClick={() => retry()}>
            Retry all of {writer}
          </button>
        </div>
      )}
      <Outcome outcome={outcome} />
    </div>
  )
}
