import { crc32 } from 'node:zlib'
import type { Database, RangeOptions } from 'lmdb'
import { Packr } from 'msgpackr/pack'
import { fromBufferKey } from 'ordered-binary'
import { StorageCorruptError } from '../../support/errors.ts'
import type { LmdbStorage } from '../storage.ts'
import { lmdbFailure } from './failure.ts'
import type { Problem } from './problem.ts'

/**
 * LMDB checks nothing of what it keeps, so a flipped bit would be handed out as a value. Every record of ours begins
 * with four bytes: the CRC-32 of its database's name, its key and what follows. With the name in it, a record that
 * lost its database can be given back to it, and with the key, a record under another one's key is noticed.
 */
export type RecordKey = string | (string | number)[]

export const CHECK_BYTES = 4
/** What helps when a record is broken. */
export const RESTART = 'Restart: the boot keeps what is sound and sets the damaged file aside.'

/** Name of the LMDB database that says which others have checksums, and what may be done with them. */
export const REGISTRY = 'databases'

export interface Registration {
  /** Taken from a backup if it is lost: what it held then is better than nothing. */
  restorable: boolean
  /** It can be made again: a broken record counts as missing. */
  disposable: boolean
  /**
   * It was salvaged, so its owner has to put in order what it derives from the records: some may be missing (`kept`),
   * or older than what was told to others (`restored`, from a backup).
   */
  salvaged?: 'kept' | 'restored'
}

export interface DatabaseOptions {
  name: string
  /** `binary` values are Buffers, `text` ones strings, `msgpack` (default) anything that msgpackr takes. */
  encoding?: 'msgpack' | 'text' | 'binary'
  /** See `Registration`; default `false`. */
  restorable?: boolean
  disposable?: boolean
}

const packr = new Packr()

/** @param seed of the database: `seedOf(name)` */
function checksum(seed: number, key: RecordKey, payload: Buffer): number {
  return crc32(payload, crc32(typeof key === 'string' ? key : key.join('\0'), seed))
}

export function seedOf(name: string): number {
  // No key begins so that another name and another key would give the same text.
  return crc32(`${name}\0`)
}

/** @returns what was stored; `undefined` when it is not what was stored under this key in this database */
export function payloadOf(seed: number, key: RecordKey, record: Buffer): Buffer | undefined {
  if (record.length < CHECK_BYTES) return undefined
  const payload = record.subarray(CHECK_BYTES)
  return record.readUInt32LE(0) === checksum(seed, key, payload) ? payload : undefined
}

/** The same for a key as it stands in the file. */
export function payloadOfRaw(seed: number, key: Buffer, record: Buffer): Buffer | undefined {
  let decoded: RecordKey
  try {
    decoded = fromBufferKey(key) as RecordKey
  } catch {
    return undefined
  }
  return typeof decoded === 'string' || Array.isArray(decoded) ? payloadOf(seed, decoded, record) : undefined
}

export function encodeRegistration(name: string, registration: Registration): Buffer {
  return encode(seedOf(REGISTRY), name, packr.pack(registration))
}

export function decodeRegistration(name: string, record: Buffer): Registration | undefined {
  const payload = payloadOf(seedOf(REGISTRY), name, record)
  return payload && (packr.unpack(payload) as Registration)
}

function encode(seed: number, key: RecordKey, payload: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(CHECK_BYTES + payload.length)
  record.set(payload, CHECK_BYTES)
  record.writeUInt32LE(checksum(seed, key, record.subarray(CHECK_BYTES)), 0)
  return record
}

/** @throws STATEFUL_STORAGE_FULL when it is not there and there is no room to make it */
function openDatabase<Key extends RecordKey>(
  { root, commits }: Pick<LmdbStorage, 'root' | 'commits'>,
  name: string,
): Database<Buffer, Key> {
  // LMDB keeps its databases under their names in the first one.
  const [found] = root.getKeys({ start: name, limit: 1 })
  if (found !== name) commits.demandRoom()
  return root.openDB<Buffer, Key>({ name, encoding: 'binary' })
}

/**
 * An LMDB database whose records are checked whenever they are read. A read that LMDB itself fails is told as
 * STATEFUL_STORAGE_UNAVAILABLE.
 */
export class CheckedDatabase<Value, Key extends RecordKey> {
  /** For keys, counts and transactions; values have their checksums here. */
  readonly raw: Database<Buffer, Key>
  readonly #name: string
  readonly #encoding: 'msgpack' | 'text' | 'binary'
  readonly #seed: number
  readonly #storage: Pick<LmdbStorage, 'root' | 'commits' | 'reportDamage'>
  readonly #registry: Database<Buffer, string>
  #registration: Registration

  /**
   * @throws STATEFUL_STORAGE_CORRUPT, STATEFUL_STORAGE_FULL, STATEFUL_STORAGE_UNAVAILABLE
   */
  constructor(storage: Pick<LmdbStorage, 'root' | 'commits' | 'reportDamage'>, options: DatabaseOptions) {
    const { name, encoding = 'msgpack', restorable = false, disposable = false } = options
    this.#name = name
    this.#encoding = encoding
    this.#seed = seedOf(name)
    this.#storage = storage
    try {
      this.raw = openDatabase<Key>(storage, name)
      this.#registry = openDatabase<string>(storage, REGISTRY)
      const stored = this.#registry.get(name)
      const known = stored && decodeRegistration(name, stored)
      if (stored && !known) throw this.#corrupt('its entry in the list of databases')
      this.#registration = known ?? { restorable, disposable }
      if (!known) {
        storage.commits.demandRoom()
        this.#registry.putSync(name, encodeRegistration(name, this.#registration))
      }
    } catch (cause) {
      throw lmdbFailure(cause)
    }
  }

  /** Whether its owner has to put in order what it derives from these records; see `markRepaired`. */
  get salvaged(): Registration['salvaged'] {
    return this.#registration.salvaged
  }

  /** To be called in the transaction that puts it in order. */
  markRepaired(): void {
    const { salvaged: _, ...registration } = this.#registration
    this.#registration = registration
    this.#registry.put(this.#name, encodeRegistration(this.#name, registration)).catch(ignore)
  }

  /** @throws STATEFUL_STORAGE_CORRUPT */
  get(key: Key): Value | undefined {
    const record = this.#read(key)
    return record === undefined ? undefined : this.#decode(key, record)
  }

  /** A broken record is told and `undefined`, as if it were not there. */
  find(key: Key): Value | undefined {
    const record = this.#read(key)
    return record === undefined ? undefined : this.#decodeIfSound(key, record)
  }

  /** Resolves when it is committed; in a transaction, with it. */
  put(key: Key, value: Value): Promise<boolean> {
    return this.raw.put(key, this.#encode(key, value))
  }

  remove(key: Key): Promise<boolean> {
    return this.raw.remove(key)
  }

  has(key: Key): boolean {
    try {
      return this.raw.doesExist(key)
    } catch (cause) {
      throw lmdbFailure(cause)
    }
  }

  getKeys(range: RangeOptions = {}): Iterable<Key> {
    return reading(() => this.raw.getKeys(range))
  }

  /** @throws STATEFUL_STORAGE_CORRUPT at a broken record */
  *getRange(range: RangeOptions = {}): Generator<{ key: Key; value: Value }> {
    for (const { key, value } of reading(() => this.raw.getRange(range))) yield { key, value: this.#decode(key, value) }
  }

  /** Passes over broken records, which are told. */
  *findRange(range: RangeOptions = {}): Generator<{ key: Key; value: Value }> {
    for (const { key, value } of reading(() => this.raw.getRange(range))) {
      const decoded = this.#decodeIfSound(key, value)
      if (decoded !== undefined) yield { key, value: decoded }
    }
  }

  #read(key: Key): Buffer | undefined {
    try {
      return this.raw.get(key)
    } catch (cause) {
      throw lmdbFailure(cause)
    }
  }

  #decodeIfSound(key: Key, record: Buffer): Value | undefined {
    try {
      return this.#decode(key, record)
    } catch {
      return undefined
    }
  }

  #decode(key: Key, record: Buffer): Value {
    const payload = payloadOf(this.#seed, key, record)
    if (payload === undefined) {
      const { disposable } = this.#registration
      const problem: Problem = {
        database: this.#name,
        what: 'a record does not have its checksum',
        kind: 'record',
        disposable,
      }
      this.#storage.reportDamage(problem)
      throw this.#corrupt('a record does not have its checksum')
    }
    if (this.#encoding === 'binary') return payload as Value
    return this.#encoding === 'text' ? (payload.toString() as Value) : (packr.unpack(payload) as Value)
  }

  #encode(key: Key, value: Value): Buffer {
    if (this.#encoding !== 'text') {
      return encode(this.#seed, key, this.#encoding === 'binary' ? (value as Uint8Array) : packr.pack(value))
    }
    // Written where it stays: texts of state are most of what is written, and long.
    const text = value as string
    const record = Buffer.allocUnsafe(CHECK_BYTES + Buffer.byteLength(text))
    record.write(text, CHECK_BYTES)
    record.writeUInt32LE(checksum(this.#seed, key, record.subarray(CHECK_BYTES)), 0)
    return record
  }

  #corrupt(what: string) {
    return new StorageCorruptError(`database '${this.#name}': ${what}`, RESTART)
  }
}

function* reading<Item>(range: () => Iterable<Item>): Generator<Item> {
  try {
    yield* range()
  } catch (cause) {
    throw lmdbFailure(cause)
  }
}

const ignore = () => {}
