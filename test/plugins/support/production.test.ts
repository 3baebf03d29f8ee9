import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { security } from '../../../plugins/security/index.ts'
import { session } from '../../../plugins/session/index.ts'
import { Browser, SECRET } from '../../fixtures/session-app.ts'

async function boot(t: Test, name: string, production?: boolean) {
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = name
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = before
  })
  const lines: { level: number; msg: string }[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => lines.push(JSON.parse(line)) } } })
  t.teardown(() => app.close())
  const options = production === undefined ? {} : { production }
  await app.register(security, options)
  await app.register(session, { secret: SECRET, ...options })
  app.get('/', async ({ session }) => {
    session.set('seen' as never, true as never)
    return {}
  })
  await app.ready()
  const answer = await new Browser(app).get('/')
  return {
    secure: /; Secure/.test(String(answer.headers['set-cookie'])),
    hsts: answer.headers['strict-transport-security'] !== undefined,
    told: lines.filter(({ level, msg }) => level === 40 && msg.includes('NODE_ENV')).map(({ msg }) => msg),
  }
}

t.test('plugins take an unknown environment for production, and say so once', async (t) => {
  for (const name of ['prod', 'staging', 'Production']) {
    const { told, ...rest } = await boot(t, name)
    t.same(rest, { secure: true, hsts: true }, name)
    t.match(told, [new RegExp(`^NODE_ENV is "${name}", which is none of .*taken for production$`)])
    t.equal(told.length, 1)
  }
})

t.test('known names, and an option that decides, are not told', async (t) => {
  t.same(await boot(t, 'production'), { secure: true, hsts: true, told: [] })
  t.same(await boot(t, 'development'), { secure: false, hsts: false, told: [] })
  t.same(await boot(t, 'test'), { secure: false, hsts: false, told: [] })
  t.same(await boot(t, ''), { secure: false, hsts: false, told: [] })
  t.same(await boot(t, 'staging', false), { secure: false, hsts: false, told: [] })
})
