import { PassThrough } from 'node:stream'
import { EventSource } from 'eventsource'
import type { FullSync, StateChange } from '../openapi/messages/server.ts'
import type { Json, Op } from '../openapi/schemas/state.ts'
import type { Space } from '../plugins/state/space.ts'
import { applyOp } from '../plugins/state/values/apply-op.ts'
import { InvalidConfigurationError } from '../plugins/support/errors.ts'
import { interrupted } from './interrupted.ts'
import type { TargetOptions } from './options.ts'
import { ServerError } from './server.ts'
import { withSpace } from './space.ts'

/** Everything that there is, at the beginning and after a gap; then commits, in order. */
export type Change =
  | { type: 'state'; epoch: string; revision: number; entries: Map<string, Json> }
  | {
      type: 'commit'
      epoch: string
      revision: number
      ops: Op[]
      clientId?: string | undefined
      /** What the keys of the operations hold then; `undefined` for one that is gone. */
      values: Map<string, Json | undefined>
    }

type Source = TargetOptions & { space: string }

/** Changes of a space, of keys with this prefix, until the command is interrupted. */
export function changesOf(source: Source, prefix = ''): AsyncGenerator<Change> {
  const { url } = source
  return url === undefined ? changesOnStorage(source, prefix) : changesOnServer({ ...source, url }, prefix)
}

async function* changesOnStorage({ storage, space: name }: Source, prefix: string): AsyncGenerator<Change> {
  if (!storage.startsWith('redis')) {
    throw new InvalidConfigurationError(
      'the changes of an LMDB folder are those of the server that has it: ask it, with --url and --token',
    )
  }
  const queue = queueOfChanges()
  const ending = new AbortController()
  interrupted().then(() => ending.abort())
  const following = withSpace(storage, name, (space) => follow(space, prefix, ending.signal, queue)).then(
    () => queue.end(),
    (error) => queue.fail(error),
  )
  try {
    yield* queue.changes
  } finally {
    ending.abort()
    await following
  }
}

async function follow(space: Space, prefix: string, signal: AbortSignal, queue: Queue): Promise<void> {
  const state = () => {
    const { epoch, revision } = space
    const entries = new Map(space.entries().filter(([key]) => key.startsWith(prefix)))
    queue.push({ type: 'state', epoch, revision, entries })
    return { epoch, revision }
  }
  const since = state()
  for await (const event of space.watch(prefix, { since, signal })) {
    if (event.type === 'reset') state()
    if (event.type !== 'commit') continue
    const { position, commit } = event
    const ops = event.ops as Op[]
    const values = new Map(ops.map(({ key }) => [key, space.get(key) as Json | undefined]))
    queue.push({ type: 'commit', ...position, ops, clientId: commit.clientId, values })
  }
}

async function* changesOnServer(
  { url, token, space }: Source & { url: string },
  prefix: string,
): AsyncGenerator<Change> {
  const address = new URL(`${url.replace(/\/$/, '')}/sync/events`)
  address.searchParams.set('space', space)
  if (prefix !== '') address.searchParams.set('prefix', prefix)
  const queue = queueOfChanges()
  const held = new Map<string, Json>()
  // It connects again by itself, from where it was.
  const events = new EventSource(address, {
    fetch: (input, init) => {
      const headers = { ...init.headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
      return fetch(input, { ...init, headers })
    },
  })
  events.addEventListener('error', ({ code, message }) => {
    // What the server refuses for good; a lost connection is tried again.
    if (events.readyState === EventSource.CLOSED) {
      const why = code === 401 ? 'STATEFUL_UNAUTHENTICATED' : `HTTP_${code ?? 0}`
      queue.fail(new ServerError(why, `The server refused the stream (${message ?? code}). Check --url and --token.`))
    }
  })
  events.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data) as FullSync | StateChange | { type: 'other' }
    if (message.type === 'fullSync') takeState(message, held, queue)
    if (message.type === 'stateChange') takeChanges(message, held, queue)
  })
  interrupted().then(() => queue.end())
  try {
    yield* queue.changes
  } finally {
    events.close()
  }
}

function takeState({ epoch, revision, part, more, state }: FullSync, held: Map<string, Json>, queue: Queue) {
  if (!part) held.clear()
  for (const [key, value] of Object.entries(state)) held.set(key, value)
  if (!more) queue.push({ type: 'state', epoch, revision, entries: new Map(held) })
}

function takeChanges({ epoch, changes }: StateChange, held: Map<string, Json>, queue: Queue) {
  for (const { revision, ops, clientId } of changes) {
    if (ops.length === 0) continue
    const values = new Map<string, Json | undefined>()
    for (const op of ops) {
      const value = applyOp(held.get(op.key), op)
      if (value === undefined) held.delete(op.key)
      else held.set(op.key, value)
      values.set(op.key, value)
    }
    queue.push({ type: 'commit', epoch, revision, ops, clientId, values })
  }
}

/** Changes that may wait for a terminal that takes nothing. */
const MOST_WAITING = 100_000

/** What comes in callbacks, for a generator. */
function queueOfChanges() {
  const stream = new PassThrough({ objectMode: true })
  return {
    push(change: Change): void {
      if (stream.writableLength < MOST_WAITING) stream.write(change)
      else stream.destroy(new InvalidConfigurationError(`more than ${MOST_WAITING} changes wait to be printed`))
    },
    end: () => void stream.end(),
    fail: (error: Error) => void stream.destroy(error),
    changes: stream as AsyncIterable<Change>,
  }
}

type Queue = ReturnType<typeof queueOfChanges>
