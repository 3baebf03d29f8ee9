import { namespaceOf } from '../../plugins/cache/tier/buckets.ts'
import type { ExportRecord } from './format.ts'
import type { Stores } from './stores.ts'

const PAGE = 500

/**
 * Everything that must not be lost. What is derived from it, or ends by itself, is not there: the cache, presences,
 * counts of failed logins, the history of spaces. Each space is of one revision; between them others may have written.
 *
 * @param now milliseconds since the Unix epoch
 */
export async function* readStores(stores: Stores, now: number): AsyncGenerator<ExportRecord> {
  let after: string | undefined
  do {
    const page = await stores.accounts.list({ prefix: '', limit: PAGE, ...(after === undefined ? {} : { after }) })
    for (const account of page) yield { account }
    after = page.length < PAGE ? undefined : page.at(-1)?.nameKey
  } while (after !== undefined)
  for (const token of await stores.tokens.list()) yield { token }
  for (const session of await stores.sessions.all(now)) yield { session }
  for (const space of await stores.spaces()) yield* readSpace(stores, space)
  yield* readLetters(stores)
}

async function* readSpace(stores: Stores, space: string): AsyncGenerator<ExportRecord> {
  const log = stores.openLog(space)
  try {
    const { entries, revision } = await log.load()
    // A server has opened it, but nothing was ever written to it.
    if (revision === 0) return
    yield { space: { name: space, revision } }
    for (const [key, { value, revision, expiresAt }] of entries) {
      yield { key: { space, key, value, revision, ...(expiresAt === undefined ? {} : { expiresAt }) } }
    }
  } finally {
    await log.close()
  }
}

async function* readLetters({ journal }: Stores): AsyncGenerator<ExportRecord> {
  for (const writer of await journal.writers()) {
    for await (const letters of journal.letters(writer)) {
      for (const { data, namespace: bucket, ...letter } of letters) {
        const namespace = namespaceOf(bucket)
        yield { letter: { writer, ...letter, namespace, data: Buffer.from(data).toString('base64') } }
      }
    }
  }
}

/** Writes that wait for their handlers: only the server that has these can hand them over. */
export async function countWaiting({ journal }: Stores): Promise<number> {
  let waiting = 0
  for (const writer of await journal.writers()) waiting += (await journal.size(writer)).pending
  return waiting
}
