import { useEffect, useState } from 'preact/hooks'
import type { Problem } from '../../openapi/schemas/problem.ts'
import type { Json } from '../../openapi/schemas/state.ts'
import { useAction } from '../action.ts'
import { RequestError } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { Choice } from '../choice.tsx'
import { Diff, textOf } from '../diff.tsx'
import { formatMoment } from '../format.ts'
import { Outcome } from '../outcome.tsx'
import { type KeyReading, write } from './key-reading.ts'

interface EditorProps {
  path: string
  name: string
  reading: KeyReading
  onChange: () => Promise<void>
}

type Life = 'keep' | 'for ever' | 'so long'

/** What is typed is kept while others write; saving it then is refused, and both values are there to see. */
export function Editor({ path, name, reading, onChange }: EditorProps) {
  const ask = useAsk()
  const shown = shownOf(reading)
  const [text, setText] = useState(shown)
  /** What the text is made of. */
  const [base, setBase] = useState(reading)
  const [life, setLife] = useState<Life>('keep')
  const [seconds, setSeconds] = useState('60')
  const [misfits, setMisfits] = useState<NonNullable<Problem['errors']>>([])
  const dirty = text !== shownOf(base) || life !== 'keep'
  const conflict = dirty && reading.etag !== base.etag
  const begin = (from: KeyReading) => {
    setBase(from)
    setText(shownOf(from))
    setLife('keep')
    setMisfits([])
  }
  const { run, busy, outcome } = useAction(onChange)
  useEffect(() => {
    if (!dirty) begin(reading)
  }, [shown, reading.etag])

  const save = () =>
    run(async () => {
      setMisfits([])
      const value = parsed(text)
      try {
        const saved = await write(path, base, value, life === 'so long' ? Number(seconds) * 1_000 : life)
        begin(saved)
        return `Saved as revision ${saved.entry?.revision}.`
      } catch (error) {
        if (!(error instanceof RequestError)) throw error
        setMisfits(error.places)
        if (error.status !== 412) throw error
        throw new Error('Somebody else has changed it meanwhile: nothing was saved.')
      }
    })
  const remove = () =>
    run(async () => {
      const text = 'Everybody who follows it sees it go.'
      if ((await ask({ title: `Delete ${name}?`, text, action: 'Delete' })) === undefined) return undefined
      await write(path, reading, undefined, 'keep')
      return 'It is deleted.'
    })

  const { expiresAt } = base.entry ?? {}
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
          aria-invalid={misfits.length > 0 ? 'true' : undefined}
          aria-describedby={misfits.length > 0 ? 'misfits' : undefined}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      {misfits.length > 0 && (
        <ul id="misfits" class="error misfits">
          {misfits.map(({ path, message }) => (
            <li key={path}>
              <code>{path.replace(/^\/(body\/)?value/, '') || '/'}</code> {message}
            </li>
          ))}
        </ul>
      )}
      <div class="bar">
        <Choice
          label="Lives"
          value={life}
          options={[
            ['keep', expiresAt === undefined ? 'for ever' : `until ${formatMoment(expiresAt)}`],
            ...(expiresAt === undefined ? [] : [['for ever', 'for ever'] as const]),
            ['so long', 'so long from now:'],
          ]}
          onChoose={(one) => setLife(one as Life)}
        />
        {life === 'so long' && (
          <label class="choice">
            Seconds
            <input
              type="number"
              required
              min="0.001"
              step="any"
              value={seconds}
              onInput={(event) => setSeconds(event.currentTarget.value)}
            />
          </label>
        )}
      </div>
      {conflict && (
        <div class="conflict" role="alert">
          {reading.entry ? (
            <>
              <p>It has changed since you began: to revision {reading.entry.revision}, by</p>
              <Diff before={base.entry?.value} after={reading.entry.value} />
            </>
          ) : (
            <p>It has been deleted since you began.</p>
          )}
          <div class="buttons">
            <button type="button" onClick={() => begin(reading)}>
              Take theirs
            </button>
            <button type="button" onClick={() => setBase(reading)}>
              Go on with mine
            </button>
          </div>
        </div>
      )}
      <div class="buttons">
        <button type="submit" disabled={busy || !dirty}>
          Save
        </button>
        {reading.entry && (
          <button type="button" class="danger" disabled={busy} onClick={remove}>
            Delete
          </button>
        )}
      </div>
      <Outcome outcome={outcome} />
    </form>
  )
}

const shownOf = ({ entry }: KeyReading): string => (entry ? textOf(entry.value) : '')

function parsed(text: string): Json {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error(`This is no JSON: ${(error as Error).message}`)
  }
}
