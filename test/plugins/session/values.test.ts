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
}

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
      const refused = { code: 'STATEFUL_INVALID_SESSION_VALUE', message: /'strange'/ }
      await t.rejects(app.sessions.update(handle, patch), refused)
      await t.rejects(app.sessions.create('eve', patch), refused)
    }
    t.equal((await app.sessions.list('eve')).length, 0)
  }),
)
