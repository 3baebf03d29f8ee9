import { useEffect, useState } from 'preact/hooks'
import type { Commit, StateChanges, StateEntry, StateInfo } from '../../openapi/schemas/state.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, RequestError, send, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { formatMoment } from '../format.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { useReading } from '../reading.ts'
import { Table } from '../table.tsx'

/** Commits of the space that are searched for changes of the key. */
const LOOKED_AT = 1_000
const SHOWN = 20

interface StateKeyProps {
  space: string
  name: string
}

/** One key: what it holds, what it was, and a new value for it, unless somebody was faster. */
export function StateKeyView({ space, name }: StateKeyProps) {
  const mayAct = useMayAct()
  const path = withQuery(`state/keys/${encodeURIComponent(name)}`, { space })
  const { value: entry, problem, again } = useReading(() => get<StateEntry>(path), [path])
  const history = useReading(() => changesOf(space, name), [space, name], 2_000)
  return (
    <section class="panel" aria-label={`Key ${name}`}>
      <h2>
        <code>{name}</code>
      </h2>
      <Problem text={problem} />
      {entry && (
        <p class="muted">
          Revision {entry.revision}
          {entry.expiresAt === undefined ? '' : `, is deleted at ${formatMoment(entry.expiresAt)}`}
        </p>
      )}
      {entry && mayAct ? (
        <Editor path={path} name={name} entry={entry} onChange={again} />
      ) : (
        entry && (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
          <pre tabIndex={0}>{JSON.stringify(entry.value, null, 2)}</pre>
        )
      )}
      <Table
        caption="Its latest changes"
        columns={['Revision', 'When', 'What']}
        empty={history.value ? 'None in the history that is kept.' : 'Waiting for the server…'}
        rows={(history.value ?? []).map(({ revision, at, ops }) => ({
          key: `${revision}`,
          cells: [
            revision,
            formatMoment(at),
            <code key="what">
              {ops
                .filter((op) => op.key === name)
                .map(({ op, value }) => (value === undefined ? op : `${op} ${JSON.stringify(value)}`))
                .join('; ')}
            </code>,
          ],
        }))}
      />
    </section>
  )
}

interface EditorProps {
  path: string
  name: string
  entry: StateEntry
  onChange: () => Promise<void>
}

/** What is typed is kept while others write; saving it then is refused, and both values are there to see. */
function Editor({ path, name, entry, onChange }: EditorProps) {
  const ask = useAsk()
  const shown = JSON.stringify(entry.value, null, 2)
  const [text, setText] = useState(shown)
  /** The revision that the text is made of. */
  const [base, setBase] = useState(entry)
  const { run, busy, outcome } = useAction(onChange)
  const dirty = text !== JSON.stringify(base.value, null, 2)
  const conflict = dirty && (entry.revision !== base.revision || entry.epoch !== base.epoch)
  useEffect(() => {
    if (dirty) return
    setText(shown)
    setBase(entry)
  }, [shown, entry.revision, entry.epoch])

  const save = () =>
    run(async () => {
      let value: unknown
      try {
        value = JSON.parse(text)
      } catch (error) {
        throw new Error(`This is no JSON: ${(error as Error).message}`)
      }
      try {
        const saved = await send<StateEntry>('PUT', path, { value }, { 'if-match': `"${base.epoch}:${base.revision}"` })
        setBase(saved)
        setText(JSON.stringify(saved.value, null, 2))
        return `Saved as revision ${saved.revision}.`
      } catch (error) {
        if (!(error instanceof RequestError && error.status === 412)) throw error
        throw new Error('Somebody else has changed it meanwhile: nothing was saved.')
      }
    })
  const remove = () =>
    run(async () => {
      const text = 'Everybody who follows it sees it go.'
      if ((await ask({ title: `Delete ${name}?`, text, action: 'Delete' })) === undefined) return undefined
      await send('DELETE', path)
      return 'It is deleted.'
    })

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void save()
      }}
    >
      <label>
        Value as JSON
        <textarea
          rows={Math.min(20, Math.max(4, text.split('\n').length))}
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      {conflict && (
        <div class="conflict" role="alert">
          <p>It has changed since you began: revision {entry.revision} is</p>
          <code>{JSON.stringify(entry.value)}</code>
          <div class="buttons">
            <button
              type="button"
              onClick={() => {
                setBase(entry)
                setText(shown)
              }}
            >
              Take theirs
            </button>
            <button type="button" onClick={() => setBase(entry)}>
              Go on with mine
            </button>
          </div>
        </div>
      )}
      <div class="buttons">
        <button type="submit" disabled={busy || !dirty}>
          Save
        </button>
        <button type="button" class="danger" disabled={busy} onClick={remove}>
          Delete
        </button>
      </div>
      <Outcome outcome={outcome} />
    </form>
  )
}

/** The newest first. */
async function changesOf(space: string, key: string): Promise<Commit[]> {
  const { epoch, revision } = await get<StateInfo>(withQuery('state', { space }))
  const since = `${epoch}:${Math.max(0, revision - LOOKED_AT)}`
  const read = (from: string) => get<StateChanges>(withQuery('state/changes', { space, since: from, limit: LOOKED_AT }))
  const recent = await read(since)
  const { commits } = recent.reset ? await read('oldest') : recent
  return commits
    .filter(({ ops }) => ops.some((op) => op.key === key))
    .slice(-SHOWN)
    .reverse()
}
