import type { Json } from '../openapi/schemas/state.ts'
import { changesOf } from './changes.ts'
import type { KeyOptions } from './get.ts'
import { Output, printable } from './output.ts'

export interface WatchOptions extends KeyOptions {
  count?: number | undefined
}

/** Prints what the keys with this prefix hold, and then each change, until it is interrupted. */
export async function watch(prefix: string | undefined, options: WatchOptions): Promise<void> {
  const output = new Output(options)
  const { count = Number.POSITIVE_INFINITY } = options
  let told = 0
  const tell = (key: string, value: Json | undefined, revision: number): boolean => {
    if (value === undefined) output.item({ key, deleted: true, revision }, `${printable(key)} deleted`)
    else output.item({ key, value, revision }, printable(`${key} = ${JSON.stringify(value)}`))
    return ++told >= count
  }
  const held = new Map<string, Json>()
  for await (const event of changesOf(options, prefix)) {
    if (event.type === 'state') {
      for (const key of held.keys()) if (!event.entries.has(key) && tell(key, undefined, event.revision)) return
      held.clear()
      for (const [key, value] of event.entries) {
        held.set(key, value)
        if (tell(key, value, event.revision)) return
      }
      continue
    }
    for (const [key, value] of event.values) {
      if (value === undefined) held.delete(key)
      else held.set(key, value)
      if (tell(key, value, event.revision)) return
    }
  }
}
