import type { Position } from '../../../openapi/schemas/state.ts'
import { RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StorageFullError, StorageUnavailableError } from '../../support/errors.ts'
import { decodeEntry, decodeRecord, encodeEntry, encodeRecord } from '../codec.ts'
import {
  type Batch,
  type CommitOutcome,
  continues,
  type Entry,
  type EpochStart,
  type LogHead,
  type LogRecord,
  type LogState,
  type LogTail,
  type Replacement,
  type Retention,
  type StateLog,
} from '../log.ts'
import { incarnation } from './memory.ts'

const commitScript = RedisScript.fromFile(new URL('./commit.lua', import.meta.url), 6)
const replaceScript = RedisScript.fromFile(new URL('./replace.lua', import.meta.url), 6)
const readScript = RedisScript.fromFile(new URL('./read.lua', import.meta.url), 4)

type ReadReply = [
  epoch: string,
  revision: string,
  floor: string,
  epochs: string[],
  log: [string, string[]][],
  values: string[],
]

/**
 * Keys `<prefix>{state:<space>}:meta|values|log|epochs|clients|clients-by-revision`, all in one slot. The stream is
 * the log; the published head is only a hint.
 */
export class RedisStateLog implements StateLog {
  readonly durability = 'primary'
  readonly shared = true
  readonly #storage: RedisStorage
  readonly #space: string
  readonly #retention: Retention
  readonly #keys: string[]
  readonly #channel: string

  constructor(storage: RedisStorage, space: string, retention: Retention) {
    this.#storage = storage
    this.#space = space
    this.#retention = retention
    const base = `${storage.prefix}{state:${space}}:`
    this.#keys = ['meta', 'values', 'log', 'epochs', 'clients', 'clients-by-revision'].map((part) => base + part)
    this.#channel = `${base}head`
  }

  async load(): Promise<LogState> {
    const reply = await this.#readFrom(-1)
    const [, , , , log, values] = reply
    const entries = new Map<string, Entry>()
    for (let i = 0; i + 1 < values.length; i += 2) {
      const key = values[i] as string
      entries.set(key, decodeEntry(key, values[i + 1] as string))
    }
    return { ...toHead(reply), entries, records: this.#toRecords(log) }
  }

  async commit(base: Position, { records, writes }: Batch): Promise<CommitOutcome> {
    const args: (string | number)[] = [
      base.epoch,
      base.revision,
      incarnation(),
      this.#retention.commits,
      this.#channel,
      records.length,
    ]
    for (const record of records) {
      args.push(encodeRecord(record), record.commit.clientId ?? '', record.commit.seq ?? '')
    }
    args.push(writes.size)
    for (const [key, entry] of writes) args.push(key, entry ? encodeEntry(entry) : '')
    const [outcome] = (await this.#run(commitScript, this.#keys, args)) as [string]
    // A duplicate is a commit that this replica has not seen yet; it finds it when it catches up.
    return outcome === 'committed' ? 'committed' : 'conflict'
  }

  async replace(base: Position, { cause, tx, entries }: Replacement): Promise<CommitOutcome> {
    const args: (string | number)[] = [base.epoch, base.revision, incarnation(), cause, tx, this.#channel]
    for (const [key, entry] of entries) args.push(key, encodeEntry(entry))
    return (await this.#run(replaceScript, this.#keys, args)) as CommitOutcome
  }

  async since(position: Position): Promise<LogTail | undefined> {
    const reply = await this.#readFrom(position.revision)
    const head = toHead(reply)
    if (!continues(head, position)) return undefined
    return { ...head, records: this.#toRecords(reply[4]) }
  }

  async watch(hint: (head: Position) => void): Promise<() => Promise<void>> {
    try {
      return await this.#storage.channels.subscribe(this.#channel, (message) => {
        const [epoch = '', revision] = message.split(' ')
        hint({ epoch, revision: Number(revision) })
      })
    } catch (cause) {
      throw new StorageUnavailableError((cause as Error).message, { cause })
    }
  }

  async close(): Promise<void> {
    // The storage owns the connections; it closes them.
  }

  async #readFrom(revision: number): Promise<ReadReply> {
    return (await this.#run(readScript, this.#keys.slice(0, 4), [incarnation(), revision])) as ReadReply
  }

  async #run(script: RedisScript, keys: string[], args: (string | number)[]): Promise<unknown> {
    try {
      return await script.run(this.#storage.client, keys, args)
    } catch (cause) {
      const { message } = cause as Error
      // Redis refuses the script before it starts: nothing was written.
      if (message.startsWith('OOM')) throw new StorageFullError(message, { cause })
      throw new StorageUnavailableError(message, { cause })
    }
  }

  #toRecords(log: [string, string[]][]): LogRecord[] {
    return log.map(([id, fields]) => decodeRecord(this.#space, Number.parseInt(id, 10), fields[1] as string))
  }
}

function toHead([epoch, revision, floor, epochs]: ReadReply): LogHead {
  return {
    epoch,
    revision: Number(revision),
    floor: Number(floor),
    epochs: epochs.map((start) => JSON.parse(start) as EpochStart),
  }
}
