import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { JsonOption, StorageOption } from './options.ts'
import { Output, type Progress } from './output.ts'
import { type Counts, FORMAT, type Header, kindOf, noCounts, VERSION } from './transfer/format.ts'
import { countWaiting, readStores } from './transfer/read.ts'
import { openWhole, type Stores, storesOn } from './transfer/stores.ts'

/** Writes everything that must not be lost to a file, for `import` into another storage. */
export async function exportTo(file: string, options: StorageOption & JsonOption): Promise<void> {
  const output = new Output(options)
  const storage = await openWhole(options.storage)
  const stores = await storesOn(storage)
  try {
    const progress = output.progress('exporting')
    const counts = await writeFile(file, stores, progress).finally(() => progress.end())
    const waiting = await countWaiting(stores)
    output.result({ file, ...counts, waiting }, [`exported to ${file}: ${told(counts)}`])
    if (waiting > 0) {
      output.note(
        `${waiting} writes wait for their handlers and are not in it: start the server, and let it hand them over first.`,
      )
    }
  } finally {
    await stores.close()
    await storage.close()
  }
}

/** Who may read it has password hashes and everything that the application keeps: only its owner does. */
async function writeFile(file: string, stores: Stores, progress: Progress): Promise<Counts> {
  const unfinished = `${file}.unfinished`
  const counts = noCounts()
  const gzip = file.endsWith('.gz') ? [createGzip()] : []
  try {
    const lines = Readable.from(linesOf(stores, counts, progress))
    await pipeline([lines, ...gzip, createWriteStream(unfinished, { mode: 0o600 })])
    await rename(unfinished, file)
    return counts
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function* linesOf(stores: Stores, counts: Counts, progress: Progress): AsyncGenerator<string> {
  const now = Date.now()
  const header: Header = { format: FORMAT, version: VERSION, id: randomUUID(), at: new Date(now).toISOString() }
  yield line(header)
  let done = 0
  for await (const record of readStores(stores, now)) {
    counts[kindOf(record)]++
    progress.at(++done)
    yield line(record)
  }
  yield line({ end: counts })
}

const line = (document: object): string => `${JSON.stringify(document)}\n`

/** Counts for people. */
export function told({ account, token, session, space, key, letter }: Counts): string {
  return `${account} accounts, ${token} access tokens, ${session} sessions, ${key} keys of ${space} spaces, ${letter} dead letters`
}
