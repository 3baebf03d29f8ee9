import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { Browser, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle

const strange: Record<string, unknown> = {
  infinity: Number.POSITIVE_INFINITY,
  nan: { deep: [Number.NaN] },
  bigint: 1n,
  map: { users: new Map([['a', 1]]) },
  set: new Set([1]),
  cycle,
  function: () => 1,
  'a function inside': { cart: [{ price: () => 1 }] },
  symbol: { mark: Symbol('mark') },
  bytes: new Uint8Array(2),
  buffer: { picture: Buffer.from('x') },
  hole: [1, undefined, 2],
  error: new Error('no'),
  pattern: /x/,
  date: new Date(Number.NaN),
  promise: Promise.resolve(1),
}

/** Whose JSON is what was there before, or nothing: a change all the same. */
const disguised: Record<string, unknown> = { map: new Map(), set: new Set(), function: () => 1, hole: [undefined] }

function routes(app: FastifyInstance) {
  app.get<{ Params: { what: string } }>('/keep/:what', async ({ session, params }) => {
    Object.assign(session, { sound: 1, strange: strange[params.what] ?? null })
    return 'kept'
  })
  app.get('/kept', async ({ session }) => ({ ...session, cookie: undefined, user: undefined }))
}

t.test('a session value that JSON would change is refused by name, and nothing of the request is saved', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind), routes })
    const browser = new Browser(app)
    await browser.login()
    // Its text is `null` as well.
    await browser.get('/keep/nothing')
    const before = (await browser.get('/kept')).json()
    const [handle = ''] = (await app.sessions.list('ada')).map((session) => session.handle)
    for (const [what, value] of Object.entries(strange)) {
      const answer = await browser.get(`/keep/${what}`)
      t.match([answer.statusCode, answer.json().code], [500, 'STATEFUL_INVALID_SESSION_VALUE'], what)
      t.same((await browser.get('/kept')).json(), before)
      const patch = { strange: value } as object
      const refused = { code: 'STATEFUL_INVALID_SESSION_VALUE', message: /'strange[^']*'/ }
      await t.rejects(app.sessions.update(handle, patch), refused)
      await t.rejects(app.sessions.create('eve', patch), refused)
    }
    t.equal((await app.sessions.list('eve')).length, 0)
  }),
)

t.test('the part is named by its path', async (t) => {
  const app = await sessionApp(t)
  const refused = (data: object, path: string) =>
    t.rejects(app.sessions.create('eve', data), { message: new RegExp(`'${path.replace(/[[\].]/g, '\\$&')}'`) }, path)
  await refused({ cart: { items: [{ n: 1 }, { n: Number.NaN }] } }, 'cart.items[1].n')
  await refused({ cart: [[new Map()]] }, 'cart[0][0]')
  await refused({ cart: [undefined] }, 'cart[0]')
})

t.test('what says itself what it becomes, and what is not there, is kept so', async (t) => {
  const app = await sessionApp(t)
  class Point {
    x = 1
    y = undefined
  }
  const id = { toJSON: () => '507f' }
  const { data } = await app.sessions.create('eve', { at: new Date(0), id, point: new Point(), gone: undefined })
  t.same(data, { user: { id: 'eve' }, at: '1970-01-01T00:00:00.000Z', id: '507f', point: { x: 1 } })
})

t.test('what looks like the value before it is refused as well', async (t) => {
  const app = await sessionApp(t, {
    routes(app) {
      app.get('/begin', async ({ session }) => {
        Object.assign(session, { strange: {}, list: [null] })
        return 'begun'
      })
      app.get<{ Params: { what: string } }>('/disguised/:what', async ({ session, params }) => {
        Object.assign(session, { [params.what === 'hole' ? 'list' : 'strange']: disguised[params.what] })
        return 'kept'
      })
    },
  })
  for (const what of Object.keys(disguised)) {
    const browser = new Browser(app)
    await browser.get('/begin')
    t.match((await browser.get(`/disguised/${what}`)).json(), { code: 'STATEFUL_INVALID_SESSION_VALUE' }, what)
  }
})
