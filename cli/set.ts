import type { Json } from '../openapi/schemas/state.ts'
import type { KeyOptions, KeyValue } from './get.ts'
import { Output } from './output.ts'
import { answered, restOf } from './server.ts'
import { withSpace } from './space.ts'

export interface SetOptions extends KeyOptions {
  ttl?: number | undefined
}

/** Sets a key, and prints what it holds then. */
export async function set(key: string, value: Json, options: SetOptions): Promise<void> {
  const written = await write(key, value, options)
  new Output(options).result(written, `${key} = ${JSON.stringify(written.value)} (revision ${written.revision})`)
}

async function write(key: string, value: Json, { url, token, storage, space: name, ttl }: SetOptions) {
  if (url !== undefined) {
    const params = { path: { key }, query: { space: name } }
    const body = { value, ...(ttl === undefined ? {} : { ttl }) }
    return (await answered(restOf({ url, token }).PUT('/state/keys/{key}', { params, body }))) as KeyValue
  }
  return withSpace(storage, name, async (space): Promise<KeyValue> => {
    const { epoch, revision } = await space.set(key, value, ttl === undefined ? {} : { ttl })
    return { key, value, revision, epoch }
  })
}
