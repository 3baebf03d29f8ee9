import Fastify from 'fastify'
import t from 'tap'
import { defineService, pluginName } from '../../../plugins/support/define.ts'
import { defineRoutes } from '../../../plugins/support/define-routes.ts'

const greeter = defineService<{ greeting?: string }>('greeter', async (fastify, options) => {
  fastify.decorate('greeting', options.greeting ?? 'hello')
})
const routes = defineRoutes<{ text?: string }>(
  'greeter',
  async (fastify, options) => {
    fastify.addHook('onSend', async (_request, reply) => void reply.header('x-scope', 'routes'))
    fastify.get('/greeting', async () => options.text ?? 'hi')
  },
  { decorators: { fastify: ['greeting'] } },
)

t.test('a service decorates who registers it, under its name', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(greeter, { greeting: 'moin' })
  t.equal(app.getDecorator('greeting'), 'moin')
  t.ok(app.hasPlugin('stateful-greeter'))
  t.equal(pluginName('greeter'), 'stateful-greeter')
})

t.test('routes take a prefix and keep their hooks to themselves', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(greeter)
  await app.register(routes, { prefix: '/v1' })
  await app.register(routes, { prefix: '/v2', text: 'again' })
  app.get('/host', async () => 'host')
  t.equal((await app.inject('/v1/greeting')).body, 'hi')
  const second = await app.inject('/v2/greeting')
  t.equal(second.body, 'again')
  t.equal(second.headers['x-scope'], 'routes')
  t.equal((await app.inject('/host')).headers['x-scope'], undefined)
  t.equal((await app.inject('/greeting')).statusCode, 404)
})

t.test('what is missing is named at boot', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => app.register(routes), {
    code: 'FST_ERR_PLUGIN_NOT_PRESENT_IN_INSTANCE',
    message: /greeting.*stateful-greeter-routes/s,
  })
})

t.test('a dependency on a plugin is checked by its name', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const needy = defineService('needy', async () => {}, { dependencies: [pluginName('greeter')] })
  await t.rejects(async () => app.register(needy), { message: /stateful-greeter/ })
})
