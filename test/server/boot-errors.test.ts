import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { SECRET } from '../fixtures/credentials.ts'
import { freePort } from '../fixtures/redis-server.ts'
import { failToStart, startServer } from '../fixtures/server-process.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

const oneLine = (t: Test, result: { code: number | null; output: string }, pattern: RegExp) => {
  t.equal(result.code, 1)
  t.match(result.output, pattern)
  t.equal(result.output.trim().split('\n').length, 1, result.output)
}

t.test('production without a secret', async (t) => {
  const environment = { NODE_ENV: 'production', STORAGE: 'memory:', SESSION_SECRET: '' }
  oneLine(t, await failToStart(environment), /SESSION_SECRET is required in production/)
})

t.test('a wrong variable', async (t) => {
  oneLine(t, await failToStart({ PORT: 'eighty', STORAGE: 'memory:' }), /PORT is not valid; it must be a port number/)
})

t.test('an unreachable Redis', async (t) => {
  const storage = `redis://:secret@127.0.0.1:${await freePort()}`
  const result = await failToStart({ STORAGE: storage, SESSION_SECRET: SECRET })
  oneLine(t, result, /storage did not answer.*ECONNREFUSED/)
  t.notMatch(result.output, /:secret@/)
})

t.test('a second process on the same LMDB folder', async (t) => {
  const environment = { STORAGE: `lmdb:${await temporaryFolder(t)}` }
  const first = await startServer(t, environment)
  oneLine(t, await failToStart(environment), /is in use: another process/)
  t.equal((await first.stop()).code, 0, 'the first goes on and closes as ever')
})

t.test('a port that is taken', async (t) => {
  const first = await startServer(t, { STORAGE: 'memory:', SESSION_SECRET: SECRET })
  const port = new URL(first.url).port
  const result = await failToStart({
    STORAGE: 'memory:',
    SESSION_SECRET: SECRET,
    PORT: port,
  })
  oneLine(t, result, /EADDRINUSE/)
})

t.test('a secret out of our own examples, in production', async (t) => {
  const environment = { NODE_ENV: 'production', STORAGE: 'memory:', SESSION_SECRET: SECRET }
  oneLine(t, await failToStart(environment), /SESSION_SECRET is not valid; it must be .*placeholder.*randomBytes/)
})

t.test('an environment of an unknown name is told at boot and is production', async (t) => {
  const environment = { STORAGE: 'memory:', SESSION_SECRET: randomBytes(32).toString('base64url') }
  const server = await startServer(t, { ...environment, NODE_ENV: 'staging', ADMIN_PASSWORD: 'umbrella harbour' })
  const [line] = server
    .output()
    .split('\n')
    .filter((text) => text.includes('NODE_ENV'))
  t.match(JSON.parse(line ?? '{}'), { level: 40, msg: /NODE_ENV is "staging".*taken for production/ })
  const answer = await fetch(`${server.url}/health/live`)
  t.ok(answer.headers.has('strict-transport-security'))
  t.equal((await server.stop()).code, 0)
})
