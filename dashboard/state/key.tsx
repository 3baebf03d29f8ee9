import { useMemo } from 'preact/hooks'
import { useMayAct } from '../action.ts'
import { withQuery } from '../api.ts'
import { textOf } from '../diff.tsx'
import { formatMoment } from '../format.ts'
import { Problem } from '../outcome.tsx'
import { useReading } from '../reading.ts'
import { Editor } from './editor.tsx'
import { History } from './history.tsx'
import { keyReader } from './key-reading.ts'

interface StateKeyProps {
  space: string
  name: string
}

/** One key: what it holds, what it was, and a new value for it, unless somebody was faster. */
export function StateKeyView({ space, name }: StateKeyProps) {
  const mayAct = useMayAct('state:write')
  const path = withQuery(`state/keys/${encodeURIComponent(name)}`, { space })
  const read = useMemo(() => keyReader(space, name), [space, name])
  const { value: reading, problem, again } = useReading(read, [read])
  return (
    <section class="panel" aria-label={`Key ${name}`}>
      <h2>
        <code>{name}</code>
      </h2>
      <Problem text={problem} />
      {reading && <p class="muted">{standing(reading.entry)}</p>}
      {reading && mayAct ? (
        <Editor path={path} name={name} reading={reading} onChange={again} />
      ) : (
        reading?.entry && (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
          <pre tabIndex={0}>{textOf(reading.entry.value)}</pre>
        )
      )}
      <History space={space} name={name} path={path} reading={reading} onChange={again} />
    </section>
  )
}

function standing(entry: { revision: number; expiresAt?: number } | undefined): string {
  if (!entry) return 'There is no such key now.'
  const { revision, expiresAt } = entry
  return `Revision ${revision}${expiresAt === undefined ? '' : `, is deleted at ${formatMoment(expiresAt)}`}`
}
