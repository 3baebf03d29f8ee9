import type { Json } from '../openapi/schemas/state.ts'
import { NotFoundError } from '../plugins/support/errors.ts'
import type { JsonOption, TargetOptions } from './options.ts'
import { Output, printable } from './output.ts'
import { answered, restOf } from './server.ts'
import { withSpace } from './space.ts'

export interface KeyOptions extends TargetOptions, JsonOption {
  space: string
}

/** What is told of a key. */
export interface KeyValue {
  key: string
  value: Json
  revision: number
  epoch: string
}

/**
 * Prints what a key holds, as JSON.
 * @throws STATEFUL_NOT_FOUND
 */
export async function get(key: string, options: KeyOptions): Promise<void> {
  const found = await read(key, options)
  new Output(options).result(found, printable(JSON.stringify(found.value)))
}

async function read(key: string, { url, token, storage, space: name }: KeyOptions): Promise<KeyValue> {
  if (url !== undefined) {
    const params = { path: { key }, query: { space: name } }
    return (await answered(restOf({ url, token }).GET('/state/keys/{key}', { params }))) as KeyValue
  }
  return withSpace(storage, name, (space) => {
    const entry = space.entry(key)
    if (!entry) throw new NotFoundError(`key '${key}' in the space '${name}'`)
    return { key, value: entry.value, revision: entry.revision, epoch: space.epochOf(entry.revision) }
  })
}
