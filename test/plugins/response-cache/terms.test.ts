import { Readable } from 'node:stream'
import t from 'tap'
import { type Answering, counting, says } from './fixture.ts'

t.test('what the handler says restricts what the route says', async (t) => {
  const shorter = await counting(t, { ttl: '1h' }, says('max-age=10'))
  t.equal(await shorter.told(), '1')
  shorter.pass(9)
  t.equal(await shorter.told(), '1')
  shorter.pass(2)
  t.equal(await shorter.told(), '2')
  const longer = await counting(t, { ttl: '10s' }, says('s-maxage=3600, max-age=1'))
  await longer.ask()
  longer.pass(9)
  t.equal(await longer.told(), '1', 's-maxage goes before max-age')
  longer.pass(2)
  t.equal(await longer.told(), '2', 'and the route goes before a longer one')
  const aged = await counting(t, { ttl: '1h' }, says('max-age=100', { age: '95' }))
  await aged.ask()
  t.match((await aged.ask()).headers, { age: '95' })
  aged.pass(6)
  t.equal(await aged.told(), '2')
  const expires = await counting(t, { ttl: '1h' }, (reply) => {
    reply.header('expires', new Date(Date.now() + 10_000).toUTCString())
  })
  await expires.ask()
  t.equal(await expires.told(), '1')
  expires.pass(11)
  t.equal(await expires.told(), '2')
})

t.test('statuses: a success lasts as long as the route says, others as long as they say', async (t) => {
  for (const [status, header, cached] of [
    [200, undefined, true],
    [404, undefined, false],
    [404, 'max-age=60', true],
    [410, 'max-age=60', true],
    [301, 'max-age=60', true],
    [500, undefined, false],
    [401, 'max-age=60', false],
    [429, 'public, max-age=60', false],
    [200, 'no-store, max-age=60', false],
    [200, 'private="x", max-age=60', false],
    [299, 'max-age=60, must-understand', false],
  ] as const) {
    const { told } = await counting(t, { ttl: '1h' }, (reply) => {
      reply.code(status)
      if (header) reply.header('cache-control', header)
    })
    await told()
    t.equal(await told(), cached ? '1' : '2', `${status} ${header}`)
  }
})

t.test('a stale answer is served while it is made anew, by word of the route or of the handler', async (t) => {
  for (const [cache, header] of [
    [{ ttl: '10s', stale: '1m' }, undefined],
    [{ ttl: 'headers' }, 'max-age=10, stale-while-revalidate=60'],
  ] as const) {
    let go = () => {}
    let begun = () => {}
    const started = new Promise<void>((resolve) => {
      begun = resolve
    })
    const { told, pass } = await counting(t, cache, async (reply, call) => {
      if (header) reply.header('cache-control', header)
      if (call !== 2) return
      begun()
      await new Promise<void>((resolve) => {
        go = resolve
      })
    })
    await told()
    pass(20)
    const maker = told()
    await started
    t.equal(await told(), '1', 'meanwhile')
    go()
    t.equal(await maker, '2')
    t.equal(await told(), '2')
    pass(100)
    t.equal(await told(), '3', 'not when it is too old')
  }
})

t.test('a stale answer goes when its maker has another one that is not kept', async (t) => {
  for (const gone of [404, 200]) {
    const { ask, pass } = await counting(t, { ttl: '10s', stale: '1h' }, (reply, call) => {
      if (call > 1) reply.code(gone).header('cache-control', gone === 200 ? 'no-store' : undefined)
    })
    await ask()
    pass(20)
    t.match(await ask(), { statusCode: gone, body: '2' })
    t.match(await ask(), { statusCode: gone, body: '3' })
    t.match((await Promise.all([ask(), ask()])).map(({ body }) => body).sort(), ['4', '5'])
  }
})

t.test('what must be confirmed is never served stale', async (t) => {
  for (const header of ['max-age=10, must-revalidate', 'max-age=10, proxy-revalidate', 's-maxage=10']) {
    const { ask, pass } = await counting(t, { ttl: '1h', stale: '1h' }, (reply, call) => {
      reply.header('cache-control', header)
      if (call > 1) throw new Error('down')
    })
    await ask()
    pass(11)
    t.equal((await ask({ 'cache-control': 'max-stale' })).statusCode, 500, header)
  }
})

t.test('a stale answer stands in when its making fails', async (t) => {
  const failures: Record<string, Answering> = {
    throws: () => {
      throw new Error('down')
    },
    'sends an error': (reply) => reply.send(new Error('down')),
    'answers 503': (reply) => reply.code(503).header('x-of-error', '1').send({ error: 'down' }),
    'is a Response of 500': (reply) => reply.send(new Response('down', { status: 500 })),
    'streams a 500': (reply) => reply.code(500).send(Readable.from(['down'])),
  }
  for (const [how, fail] of Object.entries(failures)) {
    for (const cache of [
      { ttl: '10s', staleIfError: '1m' },
      { ttl: '10s', stale: '1m' },
      { ttl: 'headers' },
    ] as const) {
      const { ask, pass, calls } = await counting(t, cache, (reply, call, request) => {
        if (call > 1) return fail(reply, call, request)
        reply.header('x-of-answer', '1')
        if (cache.ttl === 'headers') reply.header('cache-control', 'max-age=10, stale-if-error=60')
        return undefined
      })
      await ask()
      pass(20)
      const instead = await ask()
      t.match(
        instead,
        { statusCode: 200, body: '1', headers: { 'x-of-answer': '1', age: '20' } },
        `${how}: ${cache.ttl}`,
      )
      t.notMatch(instead.headers, { 'x-of-error': '1' })
      t.match(instead.headers['cache-status'], /; fwd=stale; fwd-status=50\d; ttl=-10$/)
      t.match((await ask()).body, '1')
      t.equal(calls(), 2, 'its maker is left alone for a moment')
      pass(60)
      t.equal((await ask()).statusCode >= 500, true, 'not when it is too old')
    }
  }
  const never = await counting(t, { ttl: '10s' }, (_reply, call) => {
    if (call > 1) throw new Error('down')
  })
  await never.ask()
  never.pass(20)
  t.equal((await never.ask()).statusCode, 500, 'unless it may')
})

t.test('what is stored is confirmed by its maker', async (t) => {
  const seen: unknown[] = []
  const { ask, pass } = await counting(t, { ttl: 'headers' }, (reply, call, { headers }) => {
    seen.push([headers['if-none-match'], headers['if-modified-since'], headers.range])
    reply.headers({ etag: '"v1"', 'cache-control': 'max-age=10', 'x-call': call })
    if (headers['if-none-match'] === '"v1"') return reply.code(304).send()
    return 'whole'
  })
  await ask({ 'if-none-match': '"other"' })
  pass(11)
  t.match(await ask(), { statusCode: 200, body: 'whole', headers: { 'x-call': '2', etag: '"v1"', age: '0' } })
  t.match(await ask(), { statusCode: 200, body: 'whole', headers: { 'x-call': '2' } }, 'it is fresh again')
  t.match(await ask({ 'cache-control': 'no-cache' }), { statusCode: 200, body: 'whole', headers: { 'x-call': '3' } })
  pass(11)
  t.match(await ask({ 'if-none-match': '"v1"' }), { statusCode: 304, body: '' }, 'the client has it')
  t.strictSame(seen, [
    [undefined, undefined, undefined],
    ['"v1"', undefined, undefined],
    ['"v1"', undefined, undefined],
    ['"v1"', undefined, undefined],
  ])
})

t.test('what the client asks of the age', async (t) => {
  const { ask, told, pass } = await counting(t, { ttl: '1m', stale: '1h' })
  await told()
  pass(10)
  t.equal(await told({ 'cache-control': 'max-age=10' }), '1')
  t.equal(await told({ 'cache-control': 'min-fresh=30' }), '1')
  t.equal(await told({ 'cache-control': 'no-store' }), '2')
  t.equal(await told(), '1', 'and what it got is not kept')
  t.equal(await told({ 'cache-control': 'max-age=5' }), '3')
  t.equal(await told({ pragma: 'no-cache' }), '4', 'its maker has another one by now')
  t.equal(await told({ pragma: 'no-cache', 'cache-control': 'max-age=100' }), '5')
  pass(70)
  t.equal(await told({ 'cache-control': 'max-stale=20' }), '5')
  t.match(await ask({ 'cache-control': 'only-if-cached, max-stale' }), { statusCode: 504 })
  t.equal((await ask({ 'cache-control': 'only-if-cached' })).json().code, 'STATEFUL_NOT_CACHED')
  t.equal(await told(), '6')
  t.match(await ask({ 'cache-control': 'only-if-cached' }), { statusCode: 200, body: '6' })
})
