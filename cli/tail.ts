import { openStorage } from '../plugins/storage/index.ts'
import { observeChannels } from '../plugins/storage/redis/observe.ts'
import { InvalidConfigurationError } from '../plugins/support/errors.ts'
import { changesOf } from './changes.ts'
import { interrupted } from './interrupted.ts'
import type { JsonOption, TargetOptions } from './options.ts'
import { Output, printable } from './output.ts'

export interface TailOptions extends TargetOptions, JsonOption {
  count?: number | undefined
}

/** What instances tell each other; a space of this name is followed with `watch`. */
const BUS = 'bus'

/** Prints the commits of a space as they come, or the messages between instances, until it is interrupted. */
export async function tail(space: string, options: TailOptions): Promise<void> {
  const output = new Output(options)
  const { count = Number.POSITIVE_INFINITY } = options
  if (space === BUS) return tailBus(options.storage, output, count)
  let told = 0
  for await (const event of changesOf({ ...options, space })) {
    if (event.type === 'state') {
      output.note(`space ${space}: revision ${event.revision}, ${event.entries.size} keys`)
      continue
    }
    const { epoch, revision, ops, clientId } = event
    const lines = ops.map(({ op, key, value }) => {
      return `${op} ${key}${value === undefined ? '' : ` ${JSON.stringify(value)}`}`
    })
    const commit = { epoch, revision, ops, ...(clientId === undefined ? {} : { clientId }) }
    output.item(commit, `${output.style('dim', `${revision}`)}  ${printable(lines.join('; '))}`)
    if (++told >= count) return
  }
}

async function tailBus(url: string, output: Output, count: number): Promise<void> {
  const storage = await openStorage(url)
  try {
    if (storage.kind !== 'redis') {
      throw new InvalidConfigurationError('only instances on Redis tell each other something: --storage redis://…')
    }
    let told = 0
    await new Promise<void>((resolve, reject) => {
      const observing = observeChannels(storage, (channel, message) => {
        const at = new Date().toISOString()
        const bytes = Buffer.byteLength(message)
        if (told++ < count) output.item({ at, channel, bytes }, `${at}  ${printable(channel)}  ${bytes} bytes`)
        if (told >= count) resolve()
      })
      observing.then((end) => interrupted().then(() => end().then(resolve, reject)), reject)
    })
  } finally {
    await storage.close()
  }
}
