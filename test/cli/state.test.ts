/** `get`, `set`, `watch` and `tail`: on a storage, and on a running server. */
import t from 'tap'
import { testApp } from '../fixtures/app.ts'
import { command, liveCommand } from '../fixtures/command.ts'
import { storageUrl } from '../fixtures/storages.ts'

for (const kind of ['lmdb', 'redis'] as const) {
  t.test(`${kind}: what was set is there, with its revision`, async (t) => {
    const env = { STORAGE: await storageUrl(t, kind) }
    t.match(await command(['set', 'a', '{"x":[1,null]}'], { env }), {
      code: 0,
      stdout: 'a = {"x":[1,null]} (revision 1)\n',
    })
    t.match(await command(['set', 'b', '2', '--space', 'other', '--ttl', '3600000'], { env }), { code: 0 })
    t.match(await command(['get', 'a'], { env }), { code: 0, stdout: '{"x":[1,null]}\n' })
    const { stdout } = await command(['get', 'b', '--space', 'other', '--json'], { env })
    t.match(JSON.parse(stdout), { key: 'b', value: 2, revision: 1, epoch: /^1:/ })
    t.match(await command(['get', 'b'], { env }), { code: 1, stdout: '', stderr: /no key 'b' in the space 'app'/ })
  })
}

t.test('redis: beside servers, which see what is set; watch and tail see what they do', async (t) => {
  const storage = await storageUrl(t, 'redis')
  const env = { STORAGE: storage }
  const app = await testApp(t, { storage })
  await app.state.set('cart:1', 'full')
  const watch = liveCommand(t, ['watch', 'cart:'], { env })
  const tail = liveCommand(t, ['tail', 'app', '--json'], { env })
  t.equal(await watch.line(), 'cart:1 = "full"')
  const seen = new Promise((resolve) => app.state.on('change:cart:2', resolve))
  await command(['set', 'cart:2', '1'], { env })
  t.match(await seen, { value: 1 })
  t.equal(await watch.line(), 'cart:2 = 1')
  await app.state.increment('cart:2')
  t.equal(await watch.line(), 'cart:2 = 2')
  await app.state.set('cart:\u202e3', '\u009b8m')
  t.equal(await watch.line(), 'cart:\\u202e3 = "\\u009b8m"', 'the terminal obeys nobody whose keys it shows')
  await app.state.set('other', 1)
  await app.state.delete('cart:1')
  t.equal(await watch.line(), 'cart:1 deleted')
  // Perhaps the first commits were before it listened.
  let commit: { ops: object[] } = { ops: [] }
  do commit = JSON.parse(await tail.line())
  while (!JSON.stringify(commit.ops).includes('other'))
  t.match(commit, { ops: [{ op: 'set', key: 'other', value: 1 }] })
  t.match(JSON.parse(await tail.line()), { ops: [{ op: 'delete', key: 'cart:1' }] })
  t.equal(await watch.stop(), 0, 'an interrupt is how it ends')
  t.equal(await tail.stop(), 0)
})

t.test('redis: tail bus shows what instances tell each other, and nothing of the content', async (t) => {
  const storage = await storageUrl(t, 'redis')
  const app = await testApp(t, { storage })
  const bus = liveCommand(t, ['tail', 'bus', '--json', '--storage', storage])
  let stopped = false
  const writing = (async () => {
    for (let n = 0; !stopped; n++) await app.state.set('secret', `value ${n}`)
  })()
  const message = await bus.line()
  stopped = true
  await writing
  t.match(JSON.parse(message), { channel: /^fs:/, bytes: Number })
  t.notMatch(message, /value/)
  t.equal(await bus.stop(), 0)
})

t.test('a running server is asked with an access token', async (t) => {
  const app = await testApp(t, { storage: await storageUrl(t, 'lmdb') })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const scopes = ['state:read', 'state:write', 'sync:read'] as const
  const { token } = await app.accessTokens.create({ name: 'cli', scopes: [...scopes] })
  const env = { STATEFUL_URL: url, STATEFUL_TOKEN: token }
  t.match(await command(['set', 'cart:1', '{"n":1}'], { env }), { code: 0 })
  t.same(app.state.get('cart:1'), { n: 1 })
  t.match(await command(['get', 'cart:1'], { env }), { code: 0, stdout: '{"n":1}\n' })
  t.match(await command(['get', 'none'], { env }), { code: 1, stderr: /STATEFUL_NOT_FOUND/ })
  t.match(await command(['set', 'cart:1', '1', '--url', url, '--token', 'fst_wrong']), {
    code: 1,
    stderr: /STATEFUL_INVALID_TOKEN/,
  })
  t.match(await command(['get', 'cart:1', '--url', url]), { code: 1, stderr: /UNAUTHENTICATED.*\n.*--token/ })
  t.match(await command(['get', 'a', '--url', 'http://127.0.0.1:1']), {
    code: 1,
    stderr: /STATEFUL_SERVER_UNREACHABLE/,
  })

  const watch = liveCommand(t, ['watch', 'cart:', '--json'], { env })
  t.match(JSON.parse(await watch.line()), { key: 'cart:1', value: { n: 1 } })
  await app.state.merge('cart:1', { m: 2 })
  t.match(JSON.parse(await watch.line()), { key: 'cart:1', value: { n: 1, m: 2 } }, 'operations become values')
  await app.state.delete('cart:1')
  t.match(JSON.parse(await watch.line()), { key: 'cart:1', deleted: true })
  t.equal(await watch.stop(), 0)
  const tail = liveCommand(t, ['tail', 'app', '--count', '1'], { env })
  let stopped = false
  const writing = (async () => {
    for (let n = 0; !stopped; n++) await app.state.set('a', n)
  })()
  t.match(await tail.line(), /^\d+ {2}set a \d+$/)
  stopped = true
  await writing
  t.match(await command(['watch', '--url', url, '--token', 'fst_wrong']), {
    code: 1,
    stderr: /STATEFUL_UNAUTHENTICATED/,
  })
  t.match(await command(['watch'], { env: { STORAGE: 'lmdb:./none' } }), { code: 1, stderr: /ask it, with --url/ })
})
