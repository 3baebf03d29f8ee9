import { diffArrays } from 'diff'
import type { Json } from '../openapi/schemas/state.ts'

/** Lines around a change that are shown with it. */
const AROUND = 2
/** More than so many lines are only counted. */
const MOST_LINES = 60
/** More differences than this are not looked for: the values have nothing to do with each other. */
const MOST_EDITS = 2_000

interface Line {
  sign: '+' | '-' | ' '
  text: string
}

interface DiffProps {
  /** `undefined`: nothing. */
  before: Json | undefined
  after: Json | undefined
}

/** What has changed between two values, line by line of their JSON. */
export function Diff({ before, after }: DiffProps) {
  const lines = withoutDistant(linesOf(before, after))
  return (
    <pre class="diff">
      {lines.slice(0, MOST_LINES).map(({ sign, text }, i) => {
        const line = `${sign} ${text}\n`
        if (sign === '+') return <ins key={i}>{line}</ins>
        return sign === '-' ? <del key={i}>{line}</del> : <span key={i}>{line}</span>
      })}
      {lines.length > MOST_LINES && `… and ${lines.length - MOST_LINES} more lines`}
    </pre>
  )
}

function linesOf(before: Json | undefined, after: Json | undefined): Line[] {
  const [old, now] = [before, after].map((value) => (value === undefined ? [] : textOf(value).split('\n'))) as [
    string[],
    string[],
  ]
  const parts = diffArrays(old, now, { maxEditLength: MOST_EDITS })
  if (!parts) return [...old.map(line('-')), ...now.map(line('+'))]
  return parts.flatMap(({ added, removed, value }) => value.map(line(added ? '+' : removed ? '-' : ' ')))
}

const line =
  (sign: Line['sign']) =>
  (text: string): Line => ({ sign, text })

export const textOf = (value: Json): string => JSON.stringify(value, null, 2)

/** What stays the same far from any change is one line of dots. */
function withoutDistant(lines: readonly Line[]): Line[] {
  const near = new Set<number>()
  lines.forEach(({ sign }, i) => {
    if (sign !== ' ') for (let at = i - AROUND; at <= i + AROUND; at++) near.add(at)
  })
  return lines.flatMap((line, i) => {
    if (near.has(i)) return [line]
    return i === 0 || near.has(i - 1) ? [{ sign: ' ', text: '…' }] : []
  })
}
