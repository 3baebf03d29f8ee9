/** `serve`: the reference server by its own command. What a server does is tested in test/server. */
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { command, liveCommand } from '../fixtures/command.ts'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

const env = { SESSION_SECRET: SECRET, ADMIN_PASSWORD, LOG_LEVEL: 'silent' }

t.test('it starts, answers, and ends with 0 on SIGTERM and on SIGINT', async (t) => {
  const storage = `lmdb:${join(await temporaryFolder(t), 'data')}`
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // Options stand above the environment.
    const server = liveCommand(t, ['serve', '--port', '0', '--host', '127.0.0.1', '--storage', storage], {
      env: { ...env, PORT: '1', HOST: 'nowhere.invalid', STORAGE: 'memory:' },
    })
    let line = ''
    do line = await server.line()
    while (!line.includes('listens on'))
    const url = /http:\S+/.exec(line)?.[0]
    t.equal((await fetch(`${url}/health/ready`)).status, 200)
    const login = { username: 'admin', password: ADMIN_PASSWORD }
    const answer = await fetch(`${url}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(login),
    })
    t.match(await answer.json(), { user: { username: 'admin' } })
    const others: string[] = []
    while (!others.at(-1)?.includes('Storage')) others.push(await server.line())
    t.match(others.at(-1), /Storage +lmdb/)
    t.equal(await server.stop(signal), 0, signal)
  }
})

t.test('a port that is taken', async (t) => {
  const taken = createServer()
  t.teardown(() => taken.close())
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  const { code, stderr } = await command(['serve', '--port', `${port}`, '--storage', 'memory:'], { env })
  t.equal(code, 1)
  t.match(stderr, new RegExp(`^fastify-stateful cannot start: .*EADDRINUSE.*${port}.*\\n$`))
})

t.test('a wrong configuration ends with one line that names what is wrong, and no secret', async (t) => {
  const cases: [string[], Record<string, string>, RegExp][] = [
    [['--storage', 'mongodb://x'], {}, /STORAGE is not valid; it must be 'memory:'/],
    [['--port', '70000'], {}, /PORT is not valid; it must be a port number/],
    [[], { SESSION_SECRET: 'short' }, /SESSION_SECRET is not valid/],
    [[], { ADMIN_PASSWORD: 'short' }, /ADMIN_PASSWORD is not valid/],
  ]
  for (const [args, wrong, expected] of cases) {
    const { code, stdout, stderr } = await command(['serve', ...args], {
      env: { ...env, STORAGE: 'memory:', ...wrong },
    })
    t.match({ code, stdout, stderr }, { code: 1, stdout: '', stderr: expected })
    t.match(stderr, /^fastify-stateful cannot start: [^\n]+ \[STATEFUL_INVALID_CONFIGURATION\]\n$/)
    t.notMatch(stderr, /'short'|mongodb/)
  }
  t.match(await command(['serve', '--port', 'http']), { code: 2, stderr: /whole number/ })
})
