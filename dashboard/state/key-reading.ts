import type { Json, StateEntry, StateKeys } from '../../openapi/schemas/state.ts'
import { get, getTagged, RequestError, send, withQuery } from '../api.ts'

/** What a key held when it was read. */
export interface KeyReading {
  /** `undefined`: it was not there. */
  entry: StateEntry | undefined
  /** What a write names that is to be made only if nobody else made one. */
  etag: string | undefined
  /** By how many milliseconds the server's clock is ahead of this one's, to a second. */
  ahead: number
}

const ABSENT: KeyReading = { entry: undefined, etag: undefined, ahead: 0 }

/**
 * Reads a key again and again: one that was not there is looked for by its name, for which no browser logs an error.
 */
export function keyReader(space: string, key: string): () => Promise<KeyReading> {
  const path = withQuery(`state/keys/${encodeURIComponent(key)}`, { space })
  const names = withQuery('state/keys', { space, prefix: key, limit: 1 })
  let there = true
  return async () => {
    if (!there) {
      const { keys } = await get<StateKeys>(names)
      if (keys[0] !== key) return ABSENT
    }
    const reading = await readKey(path)
    there = reading.entry !== undefined
    return reading
  }
}

export async function readKey(path: string): Promise<KeyReading> {
  try {
    const { answer, etag, at } = await getTagged<StateEntry>(path)
    return { entry: answer, etag, ahead: at - Date.now() }
  } catch (error) {
    if (!(error instanceof RequestError && error.status === 404)) throw error
    return ABSENT
  }
}

/**
 * Sets or deletes a key, if it is what was read.
 * @param value `undefined` deletes it
 * @param life how many milliseconds it lives; 'keep': until the moment that is set already, if any
 * @returns what it holds now
 * @throws RequestError of status 412 when it has changed meanwhile
 */
export async function write(
  path: string,
  { entry, etag, ahead }: KeyReading,
  value: Json | undefined,
  life: number | 'for ever' | 'keep',
): Promise<KeyReading> {
  const condition: Record<string, string> = etag === undefined ? { 'if-none-match': '*' } : { 'if-match': etag }
  if (value === undefined) {
    await send('DELETE', path, undefined, condition)
    return ABSENT
  }
  const left = entry?.expiresAt === undefined ? undefined : Math.max(1, entry.expiresAt - Date.now() - ahead)
  const ttl = life === 'keep' ? left : life === 'for ever' ? undefined : life
  const body = { value, ...(ttl === undefined ? {} : { ttl: Math.ceil(ttl) }) }
  const saved = await send<StateEntry>('PUT', path, body, condition)
  return { entry: saved, etag: `"${saved.epoch}:${saved.revision}"`, ahead }
}
