import type { Test } from 'tap'
import { type CacheTier, type Message, STAMP_LIFE, type Stamp } from '../../plugins/cache/tier/contract.ts'
import { decode, encode, versionOf } from '../../plugins/cache/tier/record.ts'

export interface TierUnderTest {
  tier: CacheTier
  /** Lets so much time go by for the store. */
  pass(ms: number): Promise<void>
}

const record = (value: unknown, stamps: readonly Stamp[] = []) =>
  encode({ freshUntil: 0, deadAt: 0, cost: 0, stamps, value })

/** What every second level must do, see CacheTier. */
export function cacheTierSuite(t: Test, make: (t: Test) => Promise<TierUnderTest>): void {
  const value = async (tier: CacheTier, key: string, ns = 'a') => {
    const [data] = await tier.get(ns, [key])
    return data && decode(data)?.value
  }
  const keysOf = async (tier: CacheTier, ns: string) => {
    const keys = new Set<string>()
    for await (const batch of tier.keys(ns)) for (const key of batch) keys.add(key)
    return [...keys]
  }
  const granted = async (tier: CacheTier, key: string, token: string, seen = '') => {
    const answer = await tier.lease('a', { key, token, ms: 60_000, seen })
    if (answer.state !== 'granted') throw new Error(`the lease is ${answer.state}`)
    return answer
  }

  t.test('put and get, in the order of the keys, per namespace', async (t) => {
    const { tier } = await make(t)
    const entries = [
      { key: 'one', data: record({ n: 1 }), ttl: 60_000 },
      { key: 'zwei/ß:\u0000*', data: record(null), ttl: 60_000 },
    ]
    t.ok(await tier.put('a', entries, []))
    const found = await tier.get('a', ['zwei/ß:\u0000*', 'none', 'one'])
    t.strictSame(
      found.map((data) => data && decode(data)?.value),
      [null, undefined, { n: 1 }],
    )
    t.strictSame(await tier.get('b', ['one']), [undefined])
    t.strictSame(await tier.get('a', []), [])
    t.strictSame((await keysOf(tier, 'a')).sort(), ['one', 'zwei/ß:\u0000*'])
  })

  t.test('an entry is gone after its time to live', async (t) => {
    const { tier, pass } = await make(t)
    await tier.put('a', [{ key: 'k', data: record(1), ttl: 40 }], [])
    t.equal(await value(tier, 'k'), 1)
    await pass(60)
    t.equal(await value(tier, 'k'), undefined)
  })

  t.test('every mutation raises the number by one and is told with it', async (t) => {
    const { tier } = await make(t)
    const heard: Message[] = []
    const stop = await tier.subscribe('a', (message) => heard.push(message))
    const before = await tier.head('a')
    await tier.put('a', [{ key: 'k', data: record(1), ttl: 60_000 }], [])
    await tier.invalidate('a', { keys: ['k'], names: ['t:x', ''] })
    await tier.expire('a', ['k'])
    await tier.invalidate('a', { pattern: 'k*' })
    const after = await tier.head('a')
    while (heard.length < 4) await new Promise((resolve) => setImmediate(resolve))
    t.equal(after.epoch, before.epoch)
    t.not(after.generation, before.generation)
    t.strictSame(
      heard.map(({ seq }) => seq - before.seq),
      [1, 2, 3, 4],
    )
    t.equal(after.seq, before.seq + 4)
    t.match(heard[0], { epoch: before.epoch, keys: ['k'] })
    t.match(heard[1], {
      keys: ['k'],
      names: [
        ['t:x', String],
        ['', after.generation],
      ],
    })
    t.match(heard[2], { keys: ['k'] })
    t.match(heard[3], { pattern: 'k*' })
    await stop()
  })

  t.test('one lease for a key; it ends with its fill, its release or its time', async (t) => {
    const { tier, pass } = await make(t)
    await granted(tier, 'k', 'one')
    t.match(await tier.lease('a', { key: 'k', token: 'two', ms: 60_000, seen: '' }), { state: 'busy' })
    await tier.release('a', { key: 'k', token: 'two' })
    t.match(
      await tier.lease('a', { key: 'k', token: 'two', ms: 60_000, seen: '' }),
      { state: 'busy' },
      'only the owner gives it back',
    )
    await tier.release('a', { key: 'k', token: 'one' })
    await granted(tier, 'k', 'two')
    t.ok(await tier.fill('a', { key: 'k', token: 'two', data: record('filled'), ttl: 60_000, stamps: [] }))
    t.equal(await value(tier, 'k'), 'filled')
    t.match(
      await tier.lease('a', { key: 'k', token: 'three', ms: 60_000, seen: '' }),
      { state: 'changed' },
      'there is a value now',
    )
    const [data] = await tier.get('a', ['k'])
    t.match(await tier.lease('a', { key: 'k', token: 'three', ms: 40, seen: versionOf(data as Uint8Array) }), {
      state: 'granted',
    })
    await pass(60)
    t.equal(await tier.renew('a', { key: 'k', token: 'three', ms: 60_000 }), false)
    await granted(tier, 'k', 'four', versionOf(data as Uint8Array))
    t.equal(await tier.renew('a', { key: 'k', token: 'four', ms: 60_000 }), true)
  })

  const endings: Record<string, (tier: CacheTier) => Promise<unknown>> = {
    delete: (tier) => tier.invalidate('a', { keys: ['k'] }),
    expire: (tier) => tier.expire('a', ['k']),
    pattern: (tier) => tier.invalidate('a', { pattern: '?' }),
    set: (tier) => tier.put('a', [{ key: 'k', data: record('set'), ttl: 60_000 }], []),
    tag: (tier) => tier.invalidate('a', { names: ['t:x'] }),
    clear: (tier) => tier.invalidate('a', { names: [''] }),
  }
  for (const [name, end] of Object.entries(endings)) {
    t.test(`a fill is refused after ${name}`, async (t) => {
      const { tier } = await make(t)
      const { values } = await tier.stamps('a', ['', 't:x'])
      const stamps: Stamp[] = [
        ['', values[0] as string],
        ['t:x', values[1] as string],
      ]
      await granted(tier, 'k', 'one')
      await end(tier)
      const fill = { key: 'k', token: 'one', data: record('old', stamps), ttl: 60_000, stamps }
      t.equal(await tier.fill('a', fill), undefined)
      t.not(await value(tier, 'k'), 'old')
    })
  }

  t.test('stamps are unique, stay, and tell how old they are', async (t) => {
    const { tier } = await make(t)
    const first = await tier.stamps('a', ['t:x', 't:y', ''])
    t.strictSame(await tier.stamps('a', ['t:x', 't:y', '']), first)
    const lease = await granted(tier, 'k', 'one')
    t.ok(first.since.every((seq) => seq <= lease.seq))
    await tier.invalidate('a', { names: ['t:x'] })
    const second = await tier.stamps('a', ['t:x', 't:y', 't:new'])
    t.not(second.values[0], first.values[0])
    t.equal(second.values[1], first.values[1])
    t.ok((second.since[0] as number) > lease.seq)
    t.ok((second.since[2] as number) > lease.seq, 'one that was missing may have been renewed and lost')
    t.equal(second.epoch, lease.epoch)
  })

  t.test('a lease tells the stamps of its value, and keeps them as long as itself', async (t) => {
    const { tier, pass } = await make(t)
    const [before] = (await tier.stamps('a', ['t:x'])).values
    const lease = await tier.lease('a', { key: 'k', token: 'one', ms: 60_000, seen: '', names: ['', 't:x', 't:new'] })
    if (lease.state !== 'granted') throw new Error('not granted')
    t.equal(lease.values[1], before)
    t.strictSame((await tier.stamps('a', ['', 't:x', 't:new'])).values, lease.values)
    t.equal(await tier.renew('a', { key: 'k', token: 'one', ms: 60_000, names: ['', 't:x', 't:new'] }), true)
    await pass(STAMP_LIFE + 100)
    t.strictSame((await tier.stamps('a', ['', 't:x', 't:new'])).values, lease.values)
    const stamps = ['', 't:x', 't:new'].map((name, i): Stamp => [name, lease.values[i] as string])
    t.ok(await tier.fill('a', { key: 'k', token: 'one', data: record(1, stamps), ttl: 60_000, stamps }))
  })

  t.test('a stamp that nothing is made under goes, others stay as long as their entries', async (t) => {
    const { tier, pass } = await make(t)
    const { values } = await tier.stamps('a', ['', 't:used', 't:unused'])
    const used: Stamp[] = [['t:used', values[1] as string]]
    t.ok(await tier.put('a', [{ key: 'k', data: record(1, used), ttl: 60_000 }], used))
    await pass(STAMP_LIFE + 100)
    const after = (await tier.stamps('a', ['', 't:used', 't:unused'])).values
    t.strictSame(after.slice(0, 2), values.slice(0, 2))
    t.not(after[2], values[2])
  })

  t.test('a put under a stamp that fell changes nothing', async (t) => {
    const { tier } = await make(t)
    const [old] = (await tier.stamps('a', ['t:x'])).values
    await tier.invalidate('a', { names: ['t:x'] })
    const entry = { key: 'k', data: record(1), ttl: 60_000 }
    t.equal(await tier.put('a', [entry], [['t:x', old as string]]), undefined)
    t.equal(await value(tier, 'k'), undefined)
    const [current] = (await tier.stamps('a', ['t:x'])).values
    t.ok(await tier.put('a', [entry], [['t:x', current as string]]))
  })

  t.test('expire keeps the value and marks it', async (t) => {
    const { tier } = await make(t)
    await tier.put('a', [{ key: 'k', data: record('v'), ttl: 60_000 }], [])
    t.match(await tier.expire('a', ['k', 'none']), { removed: 1 })
    const [data] = await tier.get('a', ['k'])
    t.match(decode(data as Uint8Array), { value: 'v', expired: true })
    t.strictSame(await tier.get('a', ['none']), [undefined])
  })

  t.test('only what was there counts as removed', async (t) => {
    const { tier, pass } = await make(t)
    const { values } = await tier.stamps('a', ['', 't:x'])
    const stamps = ['', 't:x'].map((name, i): Stamp => [name, values[i] as string])
    const entries = ['k', 'tagged'].map((key) => ({ key, data: record(key, stamps), ttl: 60_000 }))
    await tier.put('a', entries, stamps)
    await tier.put('a', [{ key: 'short', data: record(1), ttl: 20 }], [])
    t.match(await tier.invalidate('a', { keys: ['k', 'none'] }), { removed: 1 })
    await tier.invalidate('a', { names: ['t:x'] })
    t.match(await tier.invalidate('a', { keys: ['tagged'] }), { removed: 0 }, 'its tag is gone')
    await pass(40)
    t.match(await tier.invalidate('a', { keys: ['short'] }), { removed: 0 }, 'its time is over')
    t.strictSame(await keysOf(tier, 'a'), [])
  })

  t.test('a pattern removes what matches, and only there', async (t) => {
    const { tier } = await make(t)
    const keys = ['user:1', 'user:22', 'users', 'x[user:1', 'a\\user:*']
    const entries = keys.map((key) => ({ key, data: record(key), ttl: 60_000 }))
    await tier.put('a', entries, [])
    await tier.put('b', entries, [])
    t.match(await tier.invalidate('a', { pattern: 'user:*' }), { removed: 2 })
    t.strictSame(
      (await tier.get('a', keys)).map((data) => data !== undefined),
      [false, false, true, true, true],
    )
    t.match(await tier.invalidate('a', { pattern: 'x[user:?' }), { removed: 1 })
    t.match(await tier.invalidate('a', { pattern: 'a\\user:\u002a' }), { removed: 1 })
    t.equal((await keysOf(tier, 'b')).length, keys.length)
  })
}
