import Fastify from 'fastify'
import t from 'tap'
import { sharedSerializers } from '../../../plugins/support/serializers.ts'

const one = (name: string) => ({ type: 'object', properties: { [name]: { type: 'string' } } })

t.test('statuses with the same schema share a serializer, others and other scopes have their own', async (t) => {
  const app = Fastify({ schemaController: sharedSerializers() })
  t.teardown(() => app.close())
  for (const scope of ['a', 'b']) {
    await app.register(async (inner) => {
      inner.addSchema({ $id: 'Answer', ...one(scope) })
      const response = { 200: one('c'), 401: { $ref: 'Answer#' }, 403: { $ref: 'Answer#' } }
      inner.get<{ Querystring: { status: number } }>(`/${scope}`, { schema: { response } }, async (request, reply) => {
        const of = (status: string) => reply.getSerializationFunction(status)
        t.equal(of('401'), of('403'))
        t.not(of('200'), of('401'))
        return reply.code(Number(request.query.status)).send({ a: 'in a', b: 'in b', c: 'in c' })
      })
    })
  }
  const body = async (url: string) => (await app.inject(url)).json()
  t.same(await body('/a?status=200'), { c: 'in c' })
  t.same(await body('/a?status=401'), { a: 'in a' })
  t.same(await body('/b?status=401'), { b: 'in b' })
  t.same(await body('/b?status=403'), { b: 'in b' })
})
