import type { Position } from '../../../openapi/schemas/state.ts'
import { isUnreadable } from '../../storage/redis/failure.ts'
import { evenWhenFull, notWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StateEvictingStoreError, StorageCorruptError, StorageUnavailableError } from '../../support/errors.ts'
import { invalidOption } from '../../support/options.ts'
import { readText } from '../../support/text.ts'
import { decodeEntry, decodeRecords, encodeEntry, encodeRecords, isRevision, readableTail } from './codec.ts'
import {
  type Batch,
  type ClientWrite,
  type CommitOutcome,
  continues,
  type Durability,
  type Entry,
  type EpochCause,
  type EpochStart,
  firstAfter,
  type Hint,
  LOADED,
  type LogHead,
  type LogRecord,
  type LogState,
  type LogTail,
  MOST_DAMAGE,
  type Replacement,
  type Retention,
  type StateLog,
} from './contract.ts'
import { incarnation } from './memory.ts'
import { type RedisAck, RedisConfirmation } from './redis-ack.ts'
import { headsOf } from './redis-heads.ts'

const beginning = readText(new URL('./head.lua', import.meta.url))
const sourceOf = (file: URL) => `${beginning}\n${readText(file)}`

const commitScript = new RedisScript(sourceOf(new URL('./commit.lua', import.meta.url)))
// The record of a deletion is smaller than what goes, and history is bounded.
const deleteScript = new RedisScript(evenWhenFull(sourceOf(new URL('./commit.lua', import.meta.url))))
const replaceScript = new RedisScript(notWhenFull(sourceOf(new URL('./replace.lua', import.meta.url))))
const clearScript = new RedisScript(evenWhenFull(sourceOf(new URL('./replace.lua', import.meta.url))))
const readScript = new RedisScript(evenWhenFull(sourceOf(new URL('./read.lua', import.meta.url))))

export interface RedisLogOptions {
  ack: RedisAck
  /** Milliseconds that replicas or disk may take. */
  ackTimeout: number
  /**
   * Whether opening makes the space, so that all instances begin in one epoch. Default `true`; not for what a client
   * asks for, whose questions must leave nothing behind.
   */
  makes?: boolean
}

type TailReply = [epoch: string, revision: string, floor: string, epochs: string[], log: [string, string[]][]]
type ReadReply = [...TailReply, bytes: number, values: string[], clients: string[]]
type CommitReply = ['committed', bytes: number] | ['duplicate'] | ['conflict', ...TailReply]

/**
 * Keys `<prefix>{state:<space>}:meta|values|log|epochs|clients|clients-by-revision|damaged`, all in one slot. The
 * stream is the log; what is published is only a hint. `damaged` has the keys that could not be read, as they were.
 */
export class RedisStateLog implements StateLog {
  readonly durability: Durability
  readonly shared = true
  readonly #storage: RedisStorage
  readonly #space: string
  readonly #retention: Retention
  readonly #keys: string[]
  readonly #channel: string
  readonly #base: string
  /** Absent when the primary's word is enough. */
  readonly #confirmation: RedisConfirmation | undefined
  readonly #makes: boolean
  #checked = false
  #historyBytes = 0
  /** Until when it was the same server, where servers do not tell who they are: a generation of the client. */
  #known: number | undefined
  /**
   * What the first epoch is called while the space is not there. Once it may have been used in a commit it is never
   * used again: a space that was lost and is written again is another history.
   */
  #unwritten: string | undefined
  /** That there really is, or was: a server that has lost it begins a newer one. */
  #newestEpoch = ''

  constructor(storage: RedisStorage, space: string, retention: Retention, options: RedisLogOptions) {
    const { ack, ackTimeout, makes = true } = options
    this.#makes = makes
    this.durability = typeof ack === 'string' ? ack : `replicas(${ack.replicas})`
    this.#storage = storage
    this.#space = space
    this.#retention = retention
    const base = `${storage.prefix}{state:${space}}:`
    this.#base = base
    this.#keys = ['meta', 'values', 'log', 'epochs', 'clients', 'clients-by-revision'].map((part) => base + part)
    this.#channel = `${base}head`
    if (ack !== 'primary') this.#confirmation = new RedisConfirmation(storage.client, `${base}meta`, ack, ackTimeout)
  }

  /** Spaces that were written to. */
  static async spacesOn({ client, prefix }: RedisStorage): Promise<string[]> {
    const spaces = new Set<string>()
    const [beginning, end] = [`${prefix}{state:`, '}:meta']
    for await (const keys of client.scan(beginning)) {
      for (const key of keys) if (key.endsWith(end)) spaces.add(key.slice(beginning.length, -end.length))
    }
    return [...spaces]
  }

  async load(): Promise<LogState> {
    await this.#checkServer()
    const damage = new Set<string>()
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const [epoch, revision, floor, epochs, log, , values, clients] = await this.#readFrom(-1)
      const head = this.#toHead([epoch, revision, floor, epochs, log])
      const entries = new Map<string, Entry>()
      const damaged: string[] = []
      for (let i = 0; i + 1 < values.length; i += 2) {
        const [key, text] = [values[i] as string, values[i + 1] as string]
        const entry = decodeEntry(key, text)
        if (entry) entries.set(key, entry)
        else damaged.push(key, text)
      }
      if (damaged.length === 0) return { ...head, entries, ...this.#history(log, head, clients, damage) }
      for (let i = 0; i < damaged.length && damage.size < MOST_DAMAGE; i += 2) {
        damage.add(`the key '${damaged[i]}' is set aside in '${this.#base}damaged'`)
      }
      await this.#setAside(head, entries, damaged)
    }
    throw new StorageUnavailableError(`space '${this.#space}' changed each time that a damaged key was to be set aside`)
  }

  get historyBytes(): number {
    return this.#historyBytes
  }

  async record(revision: number): Promise<LogRecord | undefined> {
    const [, , , , log] = await this.#readFrom(revision - 1, 1)
    return this.#toRecords(log, revision, revision)[0]
  }

  async exists(): Promise<boolean> {
    const revision = await this.#call(() => this.#storage.client.hget(this.#keys[0] as string, 'revision'))
    return Number(revision ?? 0) > 0
  }

  async commit(base: Position, batch: Batch, onMissed?: (tail: LogTail) => void): Promise<CommitOutcome> {
    const { records, writes } = batch
    const args: (string | number)[] = [
      base.epoch,
      base.revision,
      this.#incarnationFor(base),
      this.#retention.commits,
      this.#retention.bytes,
      this.#storage.channels.publishing,
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
      this.#historyBytes = reply[1]
      this.#newestEpoch = base.epoch
      await this.#confirmation?.confirm({ epoch: base.epoch, revision: base.revision + records.length })
      return 'committed'
    }
    if (reply[0] === 'conflict') {
      const [, ...tail] = reply
      this.#newestEpoch = tail[0]
      const missed = this.#toTail(tail, base)
      if (missed) onMissed?.(missed)
    }
    // A duplicate is a commit that this replica has not seen yet; it finds it when it catches up.
    return 'conflict'
  }

  /**
   * For all instances: those that read these keys when they were sound must not go on with other content than the rest.
   */
  async #setAside(head: LogHead, entries: ReadonlyMap<string, Entry>, damaged: string[]): Promise<void> {
    await this.#call(() => this.#storage.client.hset(`${this.#base}damaged`, damaged))
    const args = this.#replacing(head, firstAfter(head, {}), 'damage', incarnation())
    for (const [key, entry] of entries) {
      args.push(key, encodeEntry({ ...entry, json: JSON.stringify(entry.value) }))
    }
    // One that was faster has changed what there is: it is read again either way. It holds no more than is there.
    await this.#run(clearScript, this.#keys, args)
  }

  async replace(base: Position, replacement: Replacement): Promise<CommitOutcome> {
    if (this.#isUnwritten(base)) await this.#make()
    const { cause, tx, entries } = replacement
    const args = this.#replacing(base, firstAfter(base, replacement), cause, tx)
    for (const [key, entry] of entries) args.push(key, encodeEntry(entry))
    return (await this.#run(entries.size === 0 ? clearScript : replaceScript, this.#keys, args)) as CommitOutcome
  }

  /** What replace.lua is told before the entries. */
  #replacing({ epoch, revision }: Position, first: number, cause: EpochCause, tx: string): (string | number)[] {
    const { publishing } = this.#storage.channels
    return [epoch, revision, first, incarnation(), cause, tx, publishing, this.#channel]
  }

  async since(position: Position): Promise<LogTail | undefined> {
    const [epoch, revision, floor, epochs, log] = await this.#readFrom(position.revision)
    return this.#toTail([epoch, revision, floor, epochs, log], position)
  }

  async head(): Promise<Position | undefined> {
    const server = this.#server
    if (server === 'other') return undefined
    const head = await this.#call(() => headsOf(this.#storage.client).ask(this.#keys[0] as string, server))
    const [epoch, revision] = head.split(' ')
    return epoch && revision ? { epoch, revision: Number(revision) } : undefined
  }

  async watch(onHint: (hint: Hint) => void): Promise<() => Promise<void>> {
    return this.#storage.channels.subscribe(this.#channel, (message) => {
      onHint(toHint(this.#space, message))
    })
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
    const policy = await this.#call(() => this.#storage.client.evictionPolicy(this.#keys[0] as string))
    if (policy.startsWith('allkeys-')) throw new StateEvictingStoreError(policy)
    const obstacle = await this.#call(async () => this.#confirmation?.obstacle())
    if (obstacle) throw invalidOption('state.ack', obstacle)
    this.#checked = true
  }

  /** @param count of the entries of the log that are needed; all of them by default */
  async #readFrom(revision: number, count = 0): Promise<ReadReply> {
    this.#unwritten ??= incarnation()
    const unwritten = this.#unwritten
    const args = [unwritten, revision, this.#makes ? 'make' : '', count, LOADED.commits, LOADED.bytes]
    const reply = (await this.#run(readScript, this.#keys.slice(0, 5), args)) as ReadReply
    const [epoch, head] = reply
    this.#historyBytes = reply[5]
    const isThere = this.#makes || !isOf(unwritten, epoch) || head !== '0'
    if (isThere && this.#unwritten === unwritten) this.#unwritten = undefined
    if (isThere) this.#newestEpoch = epoch
    return reply
  }

  #isUnwritten({ epoch, revision }: Position): boolean {
    return this.#unwritten !== undefined && revision === 0 && isOf(this.#unwritten, epoch)
  }

  /** The first commit makes the space, in the epoch that it was read with. */
  #incarnationFor(base: Position): string {
    const made = this.#isUnwritten(base) ? this.#unwritten : undefined
    this.#unwritten = undefined
    return made ?? incarnation()
  }

  /** Replacing builds on an epoch that is there. */
  async #make(): Promise<void> {
    const made = this.#unwritten
    this.#unwritten = undefined
    await this.#run(readScript, this.#keys.slice(0, 5), [made ?? incarnation(), -1, 'make', 0, 0, 0])
  }

  async #run(script: RedisScript, keys: string[], args: (string | number)[]): Promise<unknown> {
    const { client } = this.#storage
    const { generation } = client
    const reply = await this.#call(() => script.run(client, keys, [`${this.#server} ${this.#newestEpoch}`, ...args]))
    // A script that found another server has begun a new epoch; replacing only says so.
    if (script !== replaceScript && script !== clearScript) this.#known = generation
    return reply
  }

  /** As head.lua wants it. */
  get #server(): 'ask' | 'same' | 'other' {
    const { tellsRun, generation } = this.#storage.client
    if (tellsRun) return 'ask'
    return this.#known === generation ? 'same' : 'other'
  }

  async #call<Reply>(send: () => Promise<Reply>): Promise<Reply> {
    try {
      return await send()
    } catch (cause) {
      if (isUnreadable(cause)) throw this.#corrupt(cause.message, cause)
      throw cause
    }
  }

  #toTail(reply: TailReply, position: Position): LogTail | undefined {
    const head = this.#toHead(reply)
    if (!continues(head, position)) return undefined
    const records = this.#toRecords(reply[4], position.revision + 1, head.revision)
    return records.includes(undefined) ? undefined : { ...head, records: records as LogRecord[] }
  }

  #history(log: [string, string[]][], head: LogHead, clients: readonly string[], damage: Set<string>) {
    const [id, [, lines = '']] = log[0] ?? [`${head.revision + 1}`, []]
    const from = log.length === 0 ? head.floor : Math.max(Number.parseInt(id, 10) - countLines(lines) + 1, head.floor)
    const records = this.#toRecords(log, from, head.revision)
    const readable = readableTail(records)
    const lost = readable.length < records.length
    const floor = lost ? head.revision - readable.length + 1 : head.floor
    if (lost) damage.add(`the history before revision ${floor} cannot be read`)
    const clientWrites = lost ? [] : toClientWrites(clients, head.floor, from)
    return { records: readable, clientWrites, floor, ...(damage.size > 0 ? { damage: [...damage] } : {}) }
  }

  /** One of each revision; an entry of the log holds several, so it may begin before `from`. */
  #toRecords(log: [string, string[]][], from: number, to: number): (LogRecord | undefined)[] {
    const records = new Array<LogRecord | undefined>(Math.max(to - from + 1, 0)).fill(undefined)
    for (const [id, [, lines = '']] of log) {
      const first = Number.parseInt(id, 10) - countLines(lines) + 1
      decodeRecords(this.#space, first, lines).forEach((record, index) => {
        const revision = first + index
        if (revision >= from && revision <= to) records[revision - from] = record
      })
    }
    return records
  }

  #toHead([epoch, revision, floor, epochs]: TailReply): LogHead {
    const head = { epoch, revision: Number(revision), floor: Number(floor) }
    if (!EPOCH.test(epoch) || !isRevision(head.revision) || !isRevision(head.floor)) {
      throw this.#corrupt(`'${this.#base}meta' does not tell where the log stands`)
    }
    return { ...head, epochs: toEpochs(epochs, head) }
  }

  #corrupt(what: string, cause?: unknown) {
    return new StorageCorruptError(
      `space '${this.#space}': ${what}`,
      `Put back what Redis had under '${this.#base}*', or delete these keys and restore a snapshot of the space.`,
      { cause },
    )
  }
}

/** Other instances may commit between the read and the replacement that it needs. */
const MOST_ATTEMPTS = 16
const EPOCH = /^\d{1,16}:/

/** Whether the epoch is the one that an incarnation began. */
function isOf(incarnation: string, epoch: string): boolean {
  return epoch.slice(epoch.indexOf(':') + 1) === incarnation
}

function countLines(lines: string): number {
  let count = 1
  for (let at = lines.indexOf('\n'); at >= 0; at = lines.indexOf('\n', at + 1)) count++
  return count
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
      if (start > message.length) return undefined
      const records = decodeRecords(space, first, message.slice(start))
      return records.includes(undefined) ? undefined : (records as LogRecord[])
    },
  }
}

/**
 * Of the hash that commit.lua keeps: `,<seq>:<revision>,…` of each client. Those of `records` are left out, and those
 * that are not retained any more.
 */
function toClientWrites(clients: readonly string[], floor: number, before: number): ClientWrite[] {
  const writes: ClientWrite[] = []
  for (let i = 0; i + 1 < clients.length; i += 2) {
    const clientId = clients[i] as string
    for (const [, seq, at] of (clients[i + 1] as string).matchAll(/(\d+):(\d+)/g)) {
      const revision = Number(at)
      if (revision >= floor && revision < before) writes.push({ clientId, seq: Number(seq), revision })
    }
  }
  return writes.sort((a, b) => a.revision - b.revision)
}

/**
 * Where an unreadable epoch ends is unknown, and so it is for those before it: replicas that stand there get the whole
 * space again.
 */
function toEpochs(texts: readonly string[], { epoch, revision }: Position): EpochStart[] {
  const epochs: EpochStart[] = []
  for (const text of [...texts].reverse()) {
    const start = toEpoch(text)
    if (!start) break
    epochs.unshift(start)
  }
  if (epochs.at(-1)?.epoch !== epoch) return [{ epoch, first: revision + 1, cause: 'damage' }]
  return epochs
}

function toEpoch(text: string): EpochStart | undefined {
  try {
    const start = JSON.parse(text) as Partial<EpochStart> | null
    return typeof start?.epoch === 'string' && isRevision(start.first) ? (start as EpochStart) : undefined
  } catch {
    return undefined
  }
}
