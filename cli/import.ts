import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { InvalidConfigurationError, UsernameTakenError } from '../plugins/support/errors.ts'
import { told } from './export.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output, printable } from './output.ts'
import { type ExportRecord, type Header, kindOf, noCounts, parseHeader, parseRecord } from './transfer/format.ts'
import { openWhole, storesOn } from './transfer/stores.ts'
import { RecordWriter, type Written } from './transfer/write.ts'

/** Records that are written before the position is. */
const BATCH = 500

export interface ImportOptions extends StorageOption, JsonOption {
  /** Begins at the start, even if an earlier import has written a part. */
  restart?: true | undefined
}

/** How far an import has come, beside its file: lines that need not be written once more. */
interface Position {
  id: string
  target: string
  line: number
}

/**
 * Writes an export into a storage, beside what is there. One that was interrupted goes on where it was, and one that is
 * repeated changes nothing.
 *
 * @throws STATEFUL_INVALID_CONFIGURATION for what is no whole export; STATEFUL_USERNAME_TAKEN at the end, when other
 * accounts have names of imported ones
 */
export async function importFrom(file: string, options: ImportOptions): Promise<void> {
  const output = new Output(options)
  const { size } = await stat(file)
  const storage = await openWhole(options.storage)
  const stores = await storesOn(storage)
  const progress = output.progress('importing', size)
  try {
    const source = createReadStream(file)
    const input = file.endsWith('.gz') ? source.pipe(createGunzip()) : source
    source.on('error', (error) => input.destroy(error))
    const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]()
    const header = parseHeader((await lines.next()).value)
    const position = new PositionFile(file, header, options.storage)
    const from = options.restart ? 0 : await position.read()
    if (from > 0) output.note(`goes on behind line ${from} of ${file}`)
    const writer = new RecordWriter(stores, Date.now)
    const counts = noCounts()
    const outcome = { written: 0, same: 0, taken: [] as string[] }
    let number = 1
    let batch: ExportRecord[] = []
    let whole = false
    const add = ({ written, same, taken }: Written) => {
      outcome.written += written
      outcome.same += same
      outcome.taken.push(...taken)
    }
    const flush = async () => {
      add(await writer.write(batch))
      batch = []
      await position.write(number - writer.held)
      progress.at(source.bytesRead)
    }
    try {
      for (let next = await lines.next(); !next.done; next = await lines.next()) {
        const record = parseRecord(next.value, ++number)
        if ('end' in record) {
          whole = true
          break
        }
        counts[kindOf(record)]++
        if (number <= from) continue
        batch.push(record)
        if (batch.length === BATCH) await flush()
      }
      await flush()
      if (whole) add(await writer.finish())
    } finally {
      source.destroy()
      await writer.close()
    }
    if (!whole) throw new InvalidConfigurationError('the file ends before its last record: make the export again')
    await position.remove()
    progress.end()
    output.result({ file, ...counts, ...outcome }, [
      `imported from ${file}: ${told(counts)}`,
      `${outcome.written} records were written, ${outcome.same} were so already or have ended`,
    ])
    if (outcome.taken.length > 0) {
      output.note(`not imported, as other accounts have their names: ${printable(outcome.taken.join(', '))}`)
      throw new UsernameTakenError()
    }
  } finally {
    progress.end()
    await stores.close()
    await storage.close()
  }
}

class PositionFile {
  readonly #path: string
  readonly #of: Omit<Position, 'line'>

  constructor(file: string, { id }: Header, storage: string) {
    this.#path = `${file}.position`
    // The URL may hold a password.
    this.#of = { id, target: createHash('sha256').update(storage).digest('base64url') }
  }

  /** @returns 0 when there is none of this file and target */
  async read(): Promise<number> {
    try {
      const { id, target, line }: Position = JSON.parse(await readFile(this.#path, 'utf8'))
      return id === this.#of.id && target === this.#of.target ? line : 0
    } catch {
      return 0
    }
  }

  async write(line: number): Promise<void> {
    const next = `${this.#path}.next`
    await writeFile(next, JSON.stringify({ ...this.#of, line } satisfies Position), { mode: 0o600 })
    await rename(next, this.#path)
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true })
  }
}
