import type { Test } from 'tap'
import type { Json, Op } from '../../openapi/schemas/state.ts'
import {
  type Batch,
  type Entry,
  LOADED,
  type LogRecord,
  type StateLog,
  type WrittenEntry,
} from '../../plugins/state/log/contract.ts'

export interface StateLogFactory {
  /** Opens the log of a space, again if it is there already. */
  open(space: string): Promise<StateLog>
  /** Whether what `open` returns a second time holds what was written before. */
  readonly durable: boolean
  /** Commits that it was told to retain. */
  readonly retention: number
  /** Bytes of history that it was told to retain. */
  readonly historyBytes: number
}

/** What one commit sets, of keys that are not there yet, as the engine would hand it to a store. */
export function batchOf(
  base: { epoch: string; revision: number },
  space: string,
  ...commits: Record<string, Json>[]
): Batch {
  const writes = new Map<string, WrittenEntry | undefined>()
  const records = commits.map((values, index): LogRecord => {
    const revision = base.revision + index + 1
    const ops: Op[] = Object.entries(values).map(([key, value]) => ({ op: 'set', key, value }))
    for (const [key, value] of Object.entries(values)) writes.set(key, entryOf(key, value, revision))
    return {
      commit: { space, epoch: base.epoch, prev: revision - 1, revision, ops, at: 1_000 + revision },
      tx: `t${revision}`,
    }
  })
  return { records, writes, added: writes.size }
}

export function entryOf(key: string, value: Json, revision: number): WrittenEntry {
  const json = JSON.stringify(value)
  return { value, json, revision, bytes: Buffer.byteLength(key) + Buffer.byteLength(json) }
}

const valuesOf = (entries: Map<string, Entry>) =>
  Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { value }]) => [key, value]))

/** The contract of StateLog: every store passes it. */
export async function stateLogSuite(
  t: Test,
  { open, durable, retention, historyBytes }: StateLogFactory,
): Promise<void> {
  let spaces = 0
  const fresh = async () => {
    const space = `suite-${++spaces}`
    const log = await open(space)
    return { space, log, state: await log.load() }
  }

  await t.test('a new space is empty, at revision 0, in its first epoch', async (t) => {
    const { state } = await fresh()
    t.match(state, { revision: 0, floor: 1, records: [], epochs: [{ cause: 'created', first: 1 }] })
    t.equal(state.entries.size, 0)
    t.match(state.epoch, /^1:[\w-]+$/)
    t.equal(state.epochs.at(-1)?.epoch, state.epoch)
  })

  await t.test('a commit moves the head by its records and is found by load and since', async (t) => {
    const { space, log, state } = await fresh()
    const batch = batchOf(state, space, { a: 1 }, { b: [], c: { d: null } }, { a: 'é\u2028"' })
    t.equal(await log.commit(state, batch), 'committed')
    const loaded = await log.load()
    t.match(loaded, { epoch: state.epoch, revision: 3 })
    t.same(valuesOf(loaded.entries), { a: 'é\u2028"', b: [], c: { d: null } })
    t.equal(loaded.entries.get('a')?.revision, 3)
    t.equal(loaded.entries.get('b')?.revision, 2)
    t.equal(loaded.entries.get('c')?.bytes, batch.writes.get('c')?.bytes)
    t.same(loaded.records, batch.records)
    t.same((await log.since(state))?.records, batch.records)
    t.same((await log.since({ epoch: state.epoch, revision: 2 }))?.records, batch.records.slice(2))
    t.same((await log.since({ epoch: state.epoch, revision: 3 }))?.records, [])
  })

  await t.test('a commit on another base changes nothing', async (t) => {
    const { space, log, state } = await fresh()
    await log.commit(state, batchOf(state, space, { a: 1 }))
    t.equal(await log.commit(state, batchOf(state, space, { a: 2 })), 'conflict')
    const ahead = { epoch: state.epoch, revision: 5 }
    t.equal(await log.commit(ahead, batchOf(ahead, space, { a: 3 })), 'conflict')
    const elsewhere = { epoch: '1:elsewhere', revision: 1 }
    t.equal(await log.commit(elsewhere, batchOf(elsewhere, space, { a: 4 })), 'conflict')
    const loaded = await log.load()
    t.same([loaded.revision, valuesOf(loaded.entries)], [1, { a: 1 }])
  })

  await t.test('of many commits on one base exactly one is made', async (t) => {
    const { space, log, state } = await fresh()
    const outcomes = await Promise.all([1, 2, 3, 4].map((n) => log.commit(state, batchOf(state, space, { winner: n }))))
    t.same(outcomes.sort(), ['committed', 'conflict', 'conflict', 'conflict'])
    t.equal((await log.load()).revision, 1)
  })

  await t.test('deletes, expiry, client numbers and clears come back as they were', async (t) => {
    const { space, log, state } = await fresh()
    await log.commit(state, batchOf(state, space, { a: 1, b: 2 }))
    const base = { epoch: state.epoch, revision: 1 }
    const ops: Op[] = [
      { op: 'delete', key: 'a' },
      { op: 'set', key: 'b', value: 3, ttl: 500 },
    ]
    const record: LogRecord = {
      commit: { space, epoch: base.epoch, prev: 1, revision: 2, ops, clientId: 'c 1', seq: 7, at: 2_000 },
      tx: 'tx',
      clear: true,
    }
    const writes = new Map([
      ['a', undefined],
      ['b', { ...entryOf('b', 3, 2), expiresAt: 2_500 }],
    ])
    t.equal(await log.commit(base, { records: [record], writes, added: -1 }), 'committed')
    const loaded = await log.load()
    t.same([...loaded.entries.keys()], ['b'])
    t.equal(loaded.entries.get('b')?.expiresAt, 2_500)
    t.same(loaded.records.at(-1), record)
  })

  await t.test('keys and values of any kind', async (t) => {
    const { space, log, state } = await fresh()
    const values = JSON.parse('{"__proto__":1,"constructor":{"__proto__":2},"a/b:{c}*":"","ключ":-0.5,"😀":1e300}')
    values['k'.repeat(512)] = 'v'.repeat(256 * 1024 - 2)
    await log.commit(state, batchOf(state, space, values))
    const loaded = await log.load()
    t.equal(loaded.entries.size, Object.keys(values).length)
    for (const key of Object.keys(values)) {
      t.equal(JSON.stringify(loaded.entries.get(key)?.value), JSON.stringify(values[key]), key.slice(0, 20))
    }
  })

  await t.test('a replacement begins an epoch that continues no position', async (t) => {
    const { space, log, state } = await fresh()
    await log.commit(state, batchOf(state, space, { a: 1 }, { b: 2 }))
    const base = { epoch: state.epoch, revision: 2 }
    const replacement = { cause: 'restore' as const, tx: 'r1', entries: new Map([['c', entryOf('c', 3, 3)]]) }
    t.equal(await log.replace(state, replacement), 'conflict', 'on another base nothing happens')
    t.equal(await log.replace(base, replacement), 'committed')
    const loaded = await log.load()
    t.match(loaded, { revision: 3, floor: 4, records: [] })
    t.same(valuesOf(loaded.entries), { c: 3 })
    t.not(loaded.epoch, state.epoch)
    t.match(loaded.epochs.at(-1), { epoch: loaded.epoch, first: 3, cause: 'restore', tx: 'r1' })
    t.equal(await log.since(base), undefined)
    t.same((await log.since({ epoch: loaded.epoch, revision: 3 }))?.records, [])
    t.equal(await log.commit(base, batchOf(base, space, { d: 4 })), 'conflict')
    t.equal(await log.commit(loaded, batchOf(loaded, space, { d: 4 })), 'committed')
    t.same(valuesOf((await log.load()).entries), { c: 3, d: 4 })
  })

  await t.test('a replacement goes on with the count of another log, and never goes back', async (t) => {
    const { space, log, state } = await fresh()
    const entries = new Map([['a', entryOf('a', 1, 7)]])
    t.equal(await log.replace(state, { cause: 'restore', tx: 'r1', entries, after: 40 }), 'committed')
    const loaded = await log.load()
    t.match(loaded, { revision: 41, floor: 42, records: [] })
    t.equal(loaded.entries.get('a')?.revision, 7, 'an entry keeps its own')
    t.match(loaded.epochs.at(-1), { first: 41, cause: 'restore' })
    t.equal(await log.since(state), undefined)
    t.equal(await log.since({ epoch: loaded.epoch, revision: 40 }), undefined, 'nobody has been in between')
    t.equal(await log.commit(loaded, batchOf(loaded, space, { b: 2 })), 'committed')
    t.equal((await log.since(loaded))?.records.length, 1)
    const base = { epoch: loaded.epoch, revision: 42 }
    t.equal(await log.replace(base, { cause: 'restore', tx: 'r2', entries, after: 40 }), 'committed')
    t.equal((await log.load()).revision, 43)
  })

  await t.test('history is trimmed, values are not', async (t) => {
    const { space, log, state } = await fresh()
    let { revision } = state
    const { epoch } = state
    for (let round = 0; round < 4; round++) {
      const commits = Array.from({ length: retention }, (_, n) => ({ [`k${round}-${n % 3}`]: n }))
      t.equal(await log.commit({ epoch, revision }, batchOf({ epoch, revision }, space, ...commits)), 'committed')
      revision += retention
    }
    const loaded = await log.load()
    t.equal(loaded.entries.size, 4 * Math.min(retention, 3))
    t.ok(loaded.records.length >= retention && loaded.records.length <= retention * 1.25)
    t.equal(loaded.records[0]?.commit.revision, loaded.floor)
    t.equal(await log.since({ epoch, revision: 0 }), undefined)
    const oldest = loaded.floor - 1
    t.equal((await log.since({ epoch, revision: oldest }))?.records.length, loaded.records.length)
    t.equal(await log.since({ epoch, revision: oldest - 1 }), undefined)
  })

  await t.test('history is bounded by bytes as well, and the newest commit stays whatever its size', async (t) => {
    const { space, log, state } = await fresh()
    const { epoch } = state
    const size = historyBytes / 4
    let revision = 0
    const write = async (value: string) => {
      const base = { epoch, revision }
      t.equal(
        await log.commit(base, { ...batchOf(base, space, { k: value }), added: revision === 0 ? 1 : 0 }),
        'committed',
      )
      revision++
      t.ok(log.historyBytes > value.length / 2)
    }
    for (let n = 0; n < 6; n++) await write(`${n}`.padEnd(size, '.'))
    t.ok(log.historyBytes <= historyBytes, `${log.historyBytes} bytes`)
    const loaded = await log.load()
    t.equal(loaded.floor, revision - 2, 'three of a quarter fit with what stands around them')
    t.equal(await log.since({ epoch, revision: loaded.floor - 2 }), undefined)
    t.equal((await log.since({ epoch, revision: loaded.floor - 1 }))?.records.length, 3)
    t.equal((await log.record(loaded.floor))?.commit.revision, loaded.floor)
    t.equal(await log.record(loaded.floor - 1), undefined)
    t.equal(await log.record(revision + 1), undefined)
    await write('x'.repeat(historyBytes + 1))
    t.match(await log.load(), { revision, floor: revision, records: { length: 1 } })
    await write('small')
    t.match(await log.load(), { revision, floor: revision, records: { length: 1 } })
    t.ok(log.historyBytes < 1_000)
  })

  await t.test('what is loaded is the newest part, and it is known who made the rest', async (t) => {
    const { space, log, state } = await fresh()
    const { epoch } = state
    // Three of them exceed what is loaded.
    const size = Math.ceil(LOADED.bytes / 3)
    for (let revision = 0; revision < 5; revision++) {
      const base = { epoch, revision }
      const batch = batchOf(base, space, {
        // What a client wrote may look like who wrote it, as a text and as values.
        [`k${revision}`]: revision === 0 ? { a: [1], t: 'x', c: 'y', s: 99 } : '],"t":"x","c":"'.padEnd(size, '.'),
      })
      const [record] = batch.records
      const client = revision === 1 ? {} : { clientId: `c "${revision % 2}`, seq: 10 + revision }
      const records = [{ ...record, commit: { ...record?.commit, ...client } } as LogRecord]
      t.equal(await log.commit(base, { ...batch, records }), 'committed')
    }
    const loaded = await log.load()
    t.equal(loaded.floor, 1)
    const from = loaded.records[0]?.commit.revision ?? 0
    const known = [
      ...loaded.clientWrites,
      ...loaded.records.flatMap(({ commit: { clientId, seq, revision } }) => ({ clientId, seq, revision })),
    ]
    t.same(known, [
      { clientId: 'c "0', seq: 10, revision: 1 },
      ...(from <= 2 ? [{ clientId: undefined, seq: undefined, revision: 2 }] : []),
      { clientId: 'c "0', seq: 12, revision: 3 },
      { clientId: 'c "1', seq: 13, revision: 4 },
      { clientId: 'c "0', seq: 14, revision: 5 },
    ])
    if (durable) t.equal(from, 3)
    t.match((await log.record(1))?.commit, { clientId: 'c "0', seq: 10 })
    t.equal((await log.since({ epoch, revision: 0 }))?.records.length, 5)
  })

  await t.test('spaces do not see each other', async (t) => {
    const one = await fresh()
    // The name of one is the beginning of the other's.
    const log = await open(`${one.space}0`)
    const state = await log.load()
    await one.log.commit(one.state, batchOf(one.state, one.space, { a: 1 }))
    t.equal(await log.commit(state, batchOf(state, `${one.space}0`, { b: 2 })), 'committed')
    await one.log.replace({ ...one.state, revision: 1 }, { cause: 'clear', tx: 'x', entries: new Map() })
    t.same(valuesOf((await log.load()).entries), { b: 2 })
    t.equal((await one.log.load()).entries.size, 0)
  })

  if (durable) {
    await t.test('what was acknowledged is there for the next process', async (t) => {
      const { space, log, state } = await fresh()
      await log.commit(state, batchOf(state, space, { a: 1 }))
      await log.close()
      const again = await open(space)
      const loaded = await again.load()
      t.same([loaded.revision, valuesOf(loaded.entries)], [1, { a: 1 }])
      t.same(
        (await again.since({ epoch: state.epoch, revision: 0 }))?.records.length,
        1,
        'and the old position continues',
      )
      t.equal(await again.commit(loaded, { ...batchOf(loaded, space, { a: 2 }), added: 0 }), 'committed')
    })
  }

  await t.test('a shared log tells its watchers of commits and replacements', async (t) => {
    const { space, log, state } = await fresh()
    if (!log.shared) return
    const hints: string[] = []
    let heard = () => {}
    const until = (count: number) =>
      new Promise<void>((resolve) => {
        heard = () => hints.length >= count && resolve()
        heard()
      })
    const stop = await log.watch(({ epoch, revision }) => {
      hints.push(`${epoch} ${revision}`)
      heard()
    })
    await log.commit(state, batchOf(state, space, { a: 1 }))
    await until(1)
    await log.replace({ ...state, revision: 1 }, { cause: 'restore', tx: 'x', entries: new Map() })
    await until(2)
    t.equal(hints[0], `${state.epoch} 1`)
    t.match(hints[1], / 2$/)
    await stop()
  })
}
