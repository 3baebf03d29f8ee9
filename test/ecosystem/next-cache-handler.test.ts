/** What Next.js 16 asks of its cache handlers. Two real Next processes: `npm run ecosystem:next`. */
import t, { type Test } from 'tap'
import { nextCacheHandler } from '../../plugins/cache/adapters/index.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'

function handlerOn(t: Test, url: string, onError: (error: unknown) => void = (error) => t.error(error)) {
  const handler = nextCacheHandler({ storage: url, onError })
  t.teardown(() => handler.close())
  return handler
}

const streamOf = (...parts: (string | Error)[]) =>
  new ReadableStream<Uint8Array>({
    async pull(controller) {
      const part = parts.shift()
      await new Promise((resolve) => setImmediate(resolve))
      if (part instanceof Error) controller.error(part)
      else if (part === undefined) controller.close()
      else controller.enqueue(new TextEncoder().encode(part))
    },
  })

const entry = (text: string, more: object = {}, stream = streamOf(text)) =>
  Promise.resolve({
    value: stream,
    tags: [] as string[],
    stale: 30,
    timestamp: Date.now(),
    expire: 60,
    revalidate: 10,
    ...more,
  })

type Handler = ReturnType<typeof nextCacheHandler>
async function textOf(handler: Handler, key: string): Promise<string | undefined> {
  const found = await handler.get(key)
  return found && new Response(found.value).text()
}

t.test('entries: streams, pending ones, ends', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const handler = handlerOn(t, await storageUrl(t, kind))
    await handler.refreshTags()
    t.equal(await handler.get('k'), undefined)
    const given = await entry('', { tags: ['a'] }, streamOf('one ', 'two ', 'three'))
    const setting = handler.set('k', Promise.resolve(given))
    t.equal(await textOf(handler, 'k'), 'one two three', 'who asks meanwhile waits for it')
    await setting
    t.equal(await textOf(handler, 'k'), 'one two three', 'a stream for each reader')
    const { value, ...about } = (await handler.get('k')) ?? {}
    t.ok(value)
    const { value: _, ...expected } = given
    t.strictSame(about, expected)
    await handler.set('long'.repeat(1_000), entry('long key'))
    t.equal(await textOf(handler, 'long'.repeat(1_000)), 'long key')
    await handler.set('dynamic', entry('never', { expire: 0 }))
    t.equal(await handler.get('dynamic'), undefined)
    await handler.set('short', entry('short', { expire: 0.03 }))
    await new Promise((resolve) => setTimeout(resolve, 40))
    t.equal(await handler.get('short'), undefined)
    await handler.set('endless', entry('endless', { expire: 0xfffffffe }))
    t.equal(await textOf(handler, 'endless'), 'endless')
  }),
)

t.test('tags that expire, or only become stale', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const handler = handlerOn(t, await storageUrl(t, kind))
    const fill = async () => {
      await handler.set('x', entry('x', { tags: ['a', 'b'] }))
      await handler.set('y', entry('y', { tags: ['c'] }))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await fill()
    t.equal(await handler.getExpiration(['a', 'c']), 0)
    await handler.updateTags(['a', 'other'])
    t.equal(await handler.get('x'), undefined)
    t.equal(await textOf(handler, 'y'), 'y')
    t.ok(Math.abs((await handler.getExpiration(['none', 'a'])) - Date.now()) < 5_000)
    await handler.set('x', entry('late', { tags: ['b', 'a'], timestamp: Date.now() - 1_000 }))
    t.equal(await handler.get('x'), undefined, 'what was begun before the revalidation is not served')

    await fill()
    t.equal(await textOf(handler, 'x'), 'x')
    await handler.updateTags(['b'], { expire: 0.05 })
    t.equal((await handler.get('x'))?.revalidate, -1, 'once more, and made again meanwhile')
    await new Promise((resolve) => setTimeout(resolve, 60))
    t.equal(await handler.get('x'), undefined)
    t.equal((await handler.get('y'))?.revalidate, 10)
  }),
)

t.test('a stream that breaks off is not kept', async (t) => {
  const errors: unknown[] = []
  const handler = handlerOn(t, 'memory:', (error) => errors.push(error))
  await handler.set('k', entry('', {}, streamOf('half', new Error('broke off'))))
  await handler.set('k', Promise.reject(new Error('never began')))
  t.equal(await handler.get('k'), undefined)
  t.match(errors, [{ message: 'broke off' }, { message: 'never began' }])
})

t.test('what one instance revalidates is gone at the next request of another', async (t) => {
  const url = await storageUrl(t, 'redis')
  const [one, two] = [handlerOn(t, url), handlerOn(t, url)]
  for (let round = 0; round < 20; round++) {
    await one.set('k', entry(`${round}`, { tags: ['tag'] }))
    await two.refreshTags()
    t.equal(await textOf(two, 'k'), `${round}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
    await one.updateTags(['tag'])
    await two.refreshTags()
    t.equal(await two.get('k'), undefined)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
})

t.test('without Redis all is made anew, and a revalidation is an error', async (t) => {
  const redis = await startRedis(t)
  const errors: unknown[] = []
  const open = handlerOn(t, redis.url, (error) => errors.push(error))
  await open.set('k', entry('k'))
  await redis.kill()
  const never = handlerOn(t, redis.url, (error) => errors.push(error))
  for (const handler of [open, never]) {
    await handler.refreshTags()
    t.equal(await handler.get('other'), undefined)
    await handler.set('other', entry('x'))
    t.equal(await handler.getExpiration(['tag']), 0)
    await t.rejects(handler.updateTags(['tag']), { code: /^STATEFUL_(CACHE_STORE|STORAGE)_UNAVAILABLE$/ })
  }
  t.ok(errors.length >= 2)
})
