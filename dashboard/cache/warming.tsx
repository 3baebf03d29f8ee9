import { useState } from 'preact/hooks'
import type { CacheWarmed } from '../../openapi/schemas/cache.ts'
import { useAction, useMayAct } from '../action.ts'
import { send, withQuery } from '../api.ts'
import { formatCount } from '../format.ts'
import { Outcome } from '../outcome.tsx'

/** Takes entries of a namespace into the first level: those that were hot, or those that the reader names. */
export function Warming({ namespace }: { namespace: string }) {
  const mayAct = useMayAct('cache:warm')
  const [lines, setLines] = useState('')
  const { run, busy, outcome } = useAction()
  if (!mayAct) return null

  const warm = (keys?: string[]) =>
    run(async () => {
      const body = keys === undefined ? {} : { keys }
      const { warmed, missing, failed } = await send<CacheWarmed>('POST', withQuery('cache/warm', { namespace }), body)
      if (keys === undefined && warmed + missing + failed === 0) return 'No hot keys have been written down yet.'
      return `In the first level now: ${formatCount(warmed)}; found nowhere: ${formatCount(missing)}; failed: ${formatCount(failed)}.`
    })

  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        void warm(lines.split('\n').filter((key) => key !== ''))
      }}
    >
      <h2>Warm {namespace}</h2>
      <p class="muted">
        On the instance that answers: from the second level, or from the loader that the application has registered.
      </p>
      <label>
        Keys, one a line
        <textarea
          rows={2}
          required
          autocapitalize="none"
          spellcheck={false}
          value={lines}
          onInput={(event) => setLines(event.currentTarget.value)}
        />
      </label>
      <div class="buttons">
        <button type="submit" disabled={busy}>
          Warm these
        </button>
        <button type="button" disabled={busy} onClick={() => warm()}>
          Warm what was hot
        </button>
      </div>
      <Outcome outcome={outcome} />
    </form>
  )
}
