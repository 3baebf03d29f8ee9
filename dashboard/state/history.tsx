import { useMemo, useState } from 'preact/hooks'
import type { StateChanges, StateInfo } from '../../openapi/schemas/state.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, RequestError, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { Diff } from '../diff.tsx'
import { formatDuration, formatMoment } from '../format.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { emptyOf, useReading } from '../reading.ts'
import { Table } from '../table.tsx'
import { type Held, type KeyChange, KeyHistory, UNKNOWN } from './key-history.ts'
import { type KeyReading, write } from './key-reading.ts'

/** Commits of the space that are searched for changes of the key at first, and of a page. */
const LOOKED_AT = 1_000
/** Changes that are shown at first, and when all of the history was searched. */
const SHOWN = 20
const MOST = 200

interface HistoryProps {
  space: string
  name: string
  path: string
  reading: KeyReading | undefined
  onChange: () => Promise<void>
}

/** The changes of a key, each with what it changed; what it held after one of them can be brought back. */
export function History({ space, name, path, reading, onChange }: HistoryProps) {
  const mayAct = useMayAct('state:write')
  const ask = useAsk()
  const [whole, setWhole] = useState(false)
  const read = useMemo(() => historyOf(space, name, whole), [space, name, whole])
  const { value: changes, problem, again } = useReading(read, [read], 2_000)
  /** What was not restored, because the key had changed meanwhile. */
  const [refused, setRefused] = useState<KeyChange>()
  const { run, busy, outcome } = useAction(async () => {
    await Promise.all([onChange(), again()])
  })

  const restore = (change: KeyChange, seen: KeyReading) =>
    run(async () => {
      const { revision, after } = change
      const title = `Restore ${name} to revision ${revision}?`
      const text =
        after === undefined
          ? 'It was deleted then, and is deleted again. Everybody who follows it sees it go.'
          : 'It gets the value that it had then; how long it lives stays. Everybody who follows it sees the change.'
      setRefused(undefined)
      if ((await ask({ title, text, action: 'Restore' })) === undefined) return undefined
      try {
        await write(path, seen, after === UNKNOWN ? undefined : after, 'keep')
        return `It is what it was at revision ${revision}.`
      } catch (error) {
        if (!(error instanceof RequestError && error.status === 412)) throw error
        setRefused(change)
        throw new Error('Somebody else has changed it meanwhile: nothing was restored.')
      }
    })

  return (
    <>
      <Problem text={problem} />
      <Outcome outcome={outcome} />
      {refused && reading && (
        <div class="conflict" role="alert">
          <p>From what it holds now, revision {refused.revision} differs by</p>
          <Change before={reading.entry?.value} after={refused.after} />
        </div>
      )}
      <Table
        caption="Its latest changes"
        columns={['Revision', 'When', 'Change', ...(mayAct ? ['Actions'] : [])]}
        empty={emptyOf({ value: changes, problem }, 'None in the history that was searched.')}
        rows={(changes ?? []).slice(0, whole ? MOST : SHOWN).map((change, i) => ({
          key: `${change.epoch} ${change.revision}`,
          cells: [
            change.revision,
            formatMoment(change.at),
            <Told key="what" change={change} />,
            ...(mayAct
              ? [
                  // What it holds now needs no restoring.
                  reading && change.after !== UNKNOWN && i > 0 ? (
                    <button key="restore" type="button" disabled={busy} onClick={() => restore(change, reading)}>
                      Restore
                    </button>
                  ) : (
                    '–'
                  ),
                ]
              : []),
          ],
        }))}
      />
      {!whole && changes && (
        <p>
          <button type="button" onClick={() => setWhole(true)}>
            Search all of the history that is kept
          </button>
        </p>
      )}
    </>
  )
}

function Told({ change: { ops, before, after } }: { change: KeyChange }) {
  const [ttl] = ops.flatMap(({ ttl }) => (ttl === undefined ? [] : [ttl]))
  const changed = before !== UNKNOWN && after !== UNKNOWN
  return (
    <>
      {changed || after !== UNKNOWN ? (
        <Change before={before} after={after} />
      ) : (
        <code>{ops.map(({ op, value }) => `${op} ${JSON.stringify(value)}`).join('; ')}</code>
      )}
      {ttl !== undefined && <p class="muted">lives for {formatDuration(ttl / 1_000)}</p>}
    </>
  )
}

function Change({ before, after }: { before: Held; after: Held }) {
  if (after === UNKNOWN) return <p class="muted">unknown</p>
  if (before === UNKNOWN) {
    return (
      <>
        <p class="muted">What it held before is not in the history that was searched.</p>
        <Diff before={undefined} after={after} />
      </>
    )
  }
  if (JSON.stringify(before) === JSON.stringify(after)) return <p class="muted">the same value</p>
  return (
    <>
      {after === undefined && <p class="muted">deleted</p>}
      <Diff before={before} after={after} />
    </>
  )
}

/** Reads on from where it stood the last time. */
function historyOf(space: string, key: string, whole: boolean): () => Promise<readonly KeyChange[]> {
  let history = new KeyHistory(key, MOST)
  let since: string | undefined
  const begin = async () => {
    const { epoch, revision } = await get<StateInfo>(withQuery('state', { space }))
    return `${epoch}:${Math.max(0, revision - LOOKED_AT)}`
  }
  return async () => {
    since ??= whole ? 'oldest' : await begin()
    for (;;) {
      const query = { space, since, limit: LOOKED_AT }
      const { commits, reset, epoch, revision }: StateChanges = await get(withQuery('state/changes', query))
      if (reset) {
        const isOldest: boolean = since === 'oldest'
        history = new KeyHistory(key, MOST)
        since = isOldest ? undefined : 'oldest'
        if (isOldest) return history.changes
        continue
      }
      history.add(commits)
      since = `${epoch}:${revision}`
      if (commits.length < LOOKED_AT) return history.changes
    }
  }
}
