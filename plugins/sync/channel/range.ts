import type { Json, Position } from '../../../openapi/schemas/state.ts'
import type { Frame } from '../transports/frame.ts'
import { type Heard, keysOf } from './recent.ts'
import { type Outgoing, outgoing, type Topic } from './topic.ts'

/** What a commit is to the followers of a topic; `undefined` when it does not concern them. */
export function changeFor(topic: Topic, { commit, opsText }: Heard, prev: number): Outgoing | undefined {
  const ops = topic.select(commit.ops)
  if (ops.length === 0) return undefined
  const text = ops === commit.ops ? opsText : JSON.stringify(ops)
  return outgoing(prev, commit.revision, text, commit.clientId, commit.seq)
}

/** The changes of a topic in a range, one after the other, up to the end of its chain. */
export function* changesIn(topic: Topic, since: number, range: readonly Heard[]): Generator<Outgoing> {
  const end = topic.revision
  let prev = since
  for (const heard of range) {
    const change = changeFor(topic, heard, prev)
    if (!change) continue
    yield change
    prev = change.revision
  }
  // The client may be after the last change of its topic.
  if (prev < end) yield outgoing(prev, end, '[]')
}

/**
 * A range as one change, which sets each key that was touched to what it is now.
 * @param most characters; it is one frame for one reader alone
 * @returns `undefined` when it would be longer, so that a full sync is the better answer
 */
export function conflated(
  topic: Topic,
  since: number,
  range: readonly Heard[],
  read: (key: string) => Json | undefined,
  most: number,
): Outgoing[] | undefined {
  const end = topic.revision
  const texts: string[] = []
  let characters = 0
  for (const key of keysOf(range)) {
    if (!topic.matches(key)) continue
    const value = read(key)
    const text = JSON.stringify(value === undefined ? { op: 'delete', key } : { op: 'set', key, value })
    characters += text.length
    if (characters > most && texts.length > 0) return undefined
    texts.push(text)
  }
  return since < end ? [outgoing(since, end, `[${texts.join(',')}]`)] : []
}

/**
 * Changes in frames of bounded size, made as they are asked for.
 * @param since told by the first frame alone
 * @param chunk characters after which a further frame is begun
 * @param onChange runs for each change that goes out
 */
export function* rangeFrames(
  topic: Topic,
  changes: Iterable<Outgoing>,
  since: Position,
  epoch: string,
  chunk: number,
  onChange: () => void,
): Generator<Frame> {
  let some: Outgoing[] = []
  let characters = 0
  let from: Position | undefined = since
  for (const change of changes) {
    if (some.length > 0 && characters + change.text.length > chunk) {
      yield topic.stateChange(epoch, some, from)
      from = undefined
      some = []
      characters = 0
    }
    some.push(change)
    characters += change.text.length
    onChange()
  }
  yield topic.stateChange(epoch, some, from)
}
