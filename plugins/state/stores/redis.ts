import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { Position } from '../../../openapi/schemas/state.ts'
import { RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import {
  InvalidOptionError,
  StateEvictingStoreError,
  StorageFullError,
  StorageUnavailableError,
} from '../../support/errors.ts'
import { decodeEntry, decodeRecords, encodeEntry, encodeRecords } from '../codec.ts'
import {
  type Batch,
  type CommitOutcome,
  continues,
  type Durability,
  type Entry,
  type EpochStart,
  type Hint,
  type LogHead,
  type LogRecord,
  type LogState,
  type LogTail,
  type Replacement,
  type Retention,
  type StateLog,
} from '../log.ts'
import { incarnation } from './memory.ts'
import { type RedisAck, RedisConfirmation } from './redis-ack.ts'

/** Redis 7 runs such a script also when its memory is full: whoever reads or deletes must not need room for it. */
const evenWhenFull = (source: string) => `#!lua flags=allow-oom\n${source}`
const sourceOf = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8')

const commitScript = new RedisScript(sourceOf('./commit.lua'), 6)
const deleteScript = new RedisScript(evenWhenFull(sourceOf('./commit.lua')), 6)
const replaceScript = new RedisScript(sourceOf('./replace.lua'), 6)
const readScript = new RedisScript(evenWhenFull(sourceOf('./read.lua')), 4)

export interface RedisLogOptions {
  ack: RedisAck
  /** Milliseconds that replicas or disk may take. */
  ackTimeout: number
}

type TailReply = [epoch: string, revision: string, floor: string, epochs: string[], log: [string, string[]][]]
type ReadReply = [...TailReply, values: string[]]
type CommitReply = ['committed' | 'duplicate'] | ['conflict', ...TailReply]

/**
 * Keys `<prefix>{state:<space>}:meta|values|log|epochs|clients|clients-by-revision`, all in one slot. The stream is
 * the log; what is published is only a hint.
 */
export class RedisStateLog implements StateLog {
  readonly durability: Durability
  readonly shared = true
  readonly #storage: RedisStorage
  readonly #space: string
  readonly #retention: Retention
  readonly #keys: string[]
  readonly #channel: string
  /** Absent when the primary's word is enough. */
  readonly #confirmation: RedisConfirmation | undefined
  #checked = false

  constructor(storage: RedisStorage, space: string, retention: Retention, options: RedisLogOptions) {
    const { ack, ackTimeout } = options
    this.durability = typeof ack === 'string' ? ack : `replicas(${ack.replicas})`
    this.#storage = storage
    this.#space = space
    this.#retention = retention
    const base = `${storage.prefix}{state:${space}}:`
    this.#keys = ['meta', 'values', 'log', 'epochs', 'clients', 'clients-by-revision'].map((part) => base + part)
    this.#channel = `${base}head`
    if (ack !== 'primary') this.#confirmation = new RedisConfirmation(storage, `${base}meta`, ack, ackTimeout)
  }

  async load(): Promise<LogState> {
    await this.#checkServer()
    const [epoch, revision, floor, epochs, log, values] = await this.#readFrom(-1)
    const entries = new Map<string, Entry>()
    for (let i = 0; i + 1 < values.length; i += 2) {
      const key = values[i] as string
      entries.set(key, decodeEntry(key, values[i + 1] as string))
    }
    return { ...toHead([epoch, revision, floor, epochs, log]), entries, records: this.#toRecords(log, Number(floor)) }
  }

  async commit(base: Position, batch: Batch, onMissed?: (tail: LogTail) => void): Promise<CommitOutcome> {
    const { records, writes } = batch
    const args: (string | number)[] = [
      base.epoch,
      base.revision,
      incarnation(),
      this.#retention.commits,
      this.#channel,
      records.length,
      encodeRecords(batch),
    ]
    const deleted: string[] = []
    const clients: (string | number)[] = []
    for (const { commit } of records) {
      const { revision, clientId, seq } = commit
      if (clientId !== undefined && seq !== undefined) clients.push(revision, clientId, seq)
    }
    args.push(clients.length / 3, ...clients)
    for (const [key, entry] of writes) if (!entry) deleted.push(key)
    args.push(deleted.length, ...deleted)
    for (const [key, entry] of writes) if (entry) args.push(key, encodeEntry(entry))
    const onlyDeletes = records.every(({ commit }) => commit.ops.every(({ op }) => op === 'delete'))
    const reply = (await this.#run(onlyDeletes ? deleteScript : commitScript, this.#keys, args)) as CommitReply
    if (reply[0] === 'committed') {
      await this.#confirmation?.confirm({ epoch: base.epoch, revision: base.revision + records.length })
      return 'committed'
    }
    if (reply[0] === 'conflict') {
      const [, ...tail] = reply
      const missed = this.#toTail(tail, base)
      if (missed) onMissed?.(missed)
    }
    // A duplicate is a commit that this replica has not seen yet; it finds it when it catches up.
    return 'conflict'
  }

  async replace(base: Position, { cause, tx, entries }: Replacement): Promise<CommitOutcome> {
    const args: (string | number)[] = [base.epoch, base.revision, incarnation(), cause, tx, this.#channel]
    for (const [key, entry] of entries) args.push(key, encodeEntry(entry))
    return (await this.#run(replaceScript, this.#keys, args)) as CommitOutcome
  }

  async since(position: Position): Promise<LogTail | undefined> {
    const [epoch, revision, floor, epochs, log] = await this.#readFrom(position.revision)
    return this.#toTail([epoch, revision, floor, epochs, log], position)
  }

  async watch(onHint: (hint: Hint) => void): Promise<() => Promise<void>> {
    try {
      return await this.#storage.channels.subscribe(this.#channel, (message) => {
        onHint(toHint(this.#space, message))
      })
    } catch (cause) {
      throw new StorageUnavailableError((cause as Error).message, { cause })
    }
  }

  async confirm(position: Position): Promise<void> {
    await this.#confirmation?.confirm(position)
  }

  /** The storage owns the other connections; it closes them. */
  async close(): Promise<void> {
    await this.#confirmation?.close()
  }

  /** Asked once: state that Redis throws away when memory runs out would vanish without a commit. */
  async #checkServer(): Promise<void> {
    if (this.#checked) return
    const client = await this.#server()
    const info = await this.#call(() => client.info('memory'))
    const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1] ?? 'noeviction'
    if (policy.startsWith('allkeys-')) throw new StateEvictingStoreError(policy)
    const obstacle = await this.#call(async () => this.#confirmation?.obstacle())
    if (obstacle) throw new InvalidOptionError('state.ack', obstacle)
    this.#checked = true
  }

  /** The one that has the space: what confirms a write is the connection that made it. */
  #server(): Promise<Redis> {
    return this.#call(() => this.#storage.servers.of(this.#keys[0] as string))
  }

  async #readFrom(revision: number): Promise<ReadReply> {
    return (await this.#run(readScript, this.#keys.slice(0, 4), [incarnation(), revision])) as ReadReply
  }

  #run(script: RedisScript, keys: string[], args: (string | number)[]): Promise<unknown> {
    return this.#call(() => script.run(this.#storage.client, keys, args))
  }

  async #call<Reply>(send: () => Promise<Reply>): Promise<Reply> {
    try {
      return await send()
    } catch (cause) {
      const { message } = cause as Error
      // Redis refuses the script before it starts: nothing was written.
      if (message.startsWith('OOM')) throw new StorageFullError(message, { cause })
      throw new StorageUnavailableError(message, { cause })
    }
  }

  #toTail(reply: TailReply, position: Position): LogTail | undefined {
    const head = toHead(reply)
    return continues(head, position)
      ? { ...head, records: this.#toRecords(reply[4], position.revision + 1) }
      : undefined
  }

  /** From a revision on, which may lie amid the first entry. */
  #toRecords(log: [string, string[]][], from: number): LogRecord[] {
    const records = log.flatMap(([id, [, lines = '']]) => {
      return decodeRecords(this.#space, Number.parseInt(id, 10) - lines.split('\n').length + 1, lines)
    })
    const known = records.findIndex(({ commit }) => commit.revision >= from)
    return known > 0 ? records.slice(known) : records
  }
}

/** `<epoch> <prev> <revision>[ <records>]` as commit.lua publishes it; replace.lua has no records to tell. */
function toHint(space: string, message: string): Hint {
  const [epoch = '', prev, revision] = message.split(' ', 3)
  const first = Number(prev) + 1
  const start = `${epoch} ${prev} ${revision} `.length
  return {
    epoch,
    prev: Number(prev),
    revision: Number(revision),
    records() {
      return start > message.length ? undefined : decodeRecords(space, first, message.slice(start))
    },
  }
}

function toHead([epoch, revision, floor, epochs]: TailReply): LogHead {
  return {
    epoch,
    revision: Number(revision),
    floor: Number(floor),
    epochs: epochs.map((start) => JSON.parse(start) as EpochStart),
  }
}
