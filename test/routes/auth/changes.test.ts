/** A password or a role that is changed while somebody logs in with the old one, in every order of their steps. */
import { AsyncLocalStorage } from 'node:async_hooks'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { AccountStore } from '../../../plugins/accounts/account-store.ts'
import { accounts } from '../../../plugins/accounts/index.ts'
import { LmdbAccountStore } from '../../../plugins/accounts/stores/lmdb.ts'
import { MemoryAccountStore } from '../../../plugins/accounts/stores/memory.ts'
import { RedisAccountStore } from '../../../plugins/accounts/stores/redis.ts'
import { cache } from '../../../plugins/cache/index.ts'
import { problems } from '../../../plugins/problems/index.ts'
import { session } from '../../../plugins/session/index.ts'
import type { SessionStore } from '../../../plugins/session/stores/contract.ts'
import { sessionStoreOn } from '../../../plugins/session/stores/on-storage.ts'
import { type Storage, storage } from '../../../plugins/storage/index.ts'
import { authRoutes } from '../../../routes/auth/index.ts'
import { userRoutes } from '../../../routes/users/index.ts'
import { Browser, PASSWORD, SECRET } from '../../fixtures/session-app.ts'
import { onEveryStorage, type StorageKind, storageUrl } from '../../fixtures/storages.ts'

type Actor = 'login' | 'change'

/** Lets actors take their steps one at a time, in an order that the test says. */
class Stage {
  readonly #actor = new AsyncLocalStorage<Actor>()
  readonly #waiting = new Map<Actor, () => void>()
  #arrived: (() => void) | undefined
  #open = false

  /** Of a store, with these methods as steps of whoever calls them on the stage. */
  staged<T extends object>(store: T, steps: { [method: string]: Actor }): T {
    return new Proxy(store, {
      get: (target, name) => {
        const value = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (!(name in steps)) return value.bind(target)
        return async (...parameters: unknown[]) => {
          const actor = this.#actor.getStore()
          if (actor !== undefined && steps[name as string] === actor) await this.#turn(actor)
          return value.apply(target, parameters)
        }
      },
    })
  }

  #turn(actor: Actor): Promise<void> | undefined {
    if (this.#open) return
    return new Promise((resolve) => {
      this.#waiting.set(actor, resolve)
      this.#arrived?.()
    })
  }

  /** Begins both, and lets them step in this order; the rest as it comes. Resolves with what they answered. */
  async play<L, C>(order: Actor[], login: () => Promise<L>, change: () => Promise<C>): Promise<[L, C]> {
    const ended = new Set<Actor>()
    const run = <T>(actor: Actor, work: () => Promise<T>) =>
      this.#actor.run(actor, work).finally(() => {
        ended.add(actor)
        this.#arrived?.()
      })
    this.#open = false
    const both = Promise.all([run('login', login), run('change', change)])
    const settled = async (actor: Actor) => {
      while (!this.#waiting.has(actor) && !ended.has(actor)) {
        await new Promise<void>((resolve) => {
          this.#arrived = resolve
        })
      }
    }
    for (const actor of order) {
      await settled(actor)
      const step = this.#waiting.get(actor)
      this.#waiting.delete(actor)
      step?.()
      await settled(actor)
    }
    this.#open = true
    for (const step of this.#waiting.values()) step()
    this.#waiting.clear()
    return both
  }
}

/** A login reads the account, creates the session and reads the account again; a change writes it and ends sessions. */
const LOGIN_STEPS = 3
const CHANGE_STEPS = 2

function orders(logins = LOGIN_STEPS, changes = CHANGE_STEPS): Actor[][] {
  if (logins === 0) return [new Array<Actor>(changes).fill('change')]
  if (changes === 0) return [new Array<Actor>(logins).fill('login')]
  return [
    ...orders(logins - 1, changes).map((rest): Actor[] => ['login', ...rest]),
    ...orders(logins, changes - 1).map((rest): Actor[] => ['change', ...rest]),
  ]
}

function accountStoreOn(on: Storage): AccountStore {
  if (on.kind === 'redis') return new RedisAccountStore(on)
  return on.kind === 'lmdb' ? new LmdbAccountStore(on) : new MemoryAccountStore()
}

async function stagedApp(t: Test, kind: StorageKind) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(storage, { storage: await storageUrl(t, kind) })
  const stage = new Stage()
  const sessions: SessionStore = sessionStoreOn(app.storage)
  await app.register(session, {
    secret: SECRET,
    production: false,
    store: stage.staged(sessions, { create: 'login', rotate: 'login', revokeOwner: 'change' }),
  })
  await app.register(cache)
  const store = accountStoreOn(app.storage)
  await app.register(accounts, {
    bootstrap: { password: PASSWORD },
    store: stage.staged(store, { findByName: 'login', get: 'login', update: 'change' }),
  })
  await app.register(authRoutes)
  await app.register(userRoutes)
  await app.ready()
  const admin = new Browser(app)
  await admin.login('admin')
  const { passwordHash = '' } = (await store.findByName('admin')) ?? {}
  return { app, stage, admin, store, passwordHash }
}

t.test('a login under way yields no session with the old password or role, in any order', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, stage, admin, store, passwordHash } = await stagedApp(t, kind)
    t.equal(orders().length, 10)
    for (const [n, order] of orders().entries()) {
      for (const patch of [{ password: 'battery staple' }, { role: 'administrator' }]) {
        const id = `user-${n}-${Object.keys(patch)}`
        await store.create({ id, username: id, nameKey: id, role: 'user', passwordHash })
        const browser = new Browser(app)
        const [login, change] = await stage.play(
          order,
          () => browser.login(id),
          () => admin.inject({ method: 'PUT', url: `/users/${id}`, payload: patch }),
        )
        const about = `${order.join(' ')}: ${JSON.stringify(patch)}`
        t.equal(change.statusCode, 200, about)
        t.ok([200, 401].includes(login.statusCode), about)
        const profile = await browser.get('/profile')
        if ('role' in patch && profile.statusCode === 200) t.equal(profile.json().user.role, patch.role, about)
        else t.equal(profile.statusCode, 401, about)
        if (login.statusCode === 401) t.equal(browser.cookies.has('sid'), false, about)
        const left = await app.sessions.list(id)
        t.equal(left.length, profile.statusCode === 200 ? 1 : 0, `${about}: nothing is left that nobody knows of`)
      }
    }
  }),
)

t.test('an account that is gone, or cannot be read, when the session is made yields none', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(storage, { storage: 'memory:' })
  await app.register(session, { secret: SECRET, production: false })
  const store = new MemoryAccountStore()
  await app.register(accounts, { bootstrap: false, store })
  await app.register(authRoutes)
  await app.ready()
  await app.accounts.create({ id: 'ada', username: 'ada', password: PASSWORD, role: 'user' })
  for (const [get, status] of [
    [async () => undefined, 401],
    [() => Promise.reject(new Error('gone')), 503],
  ] as const) {
    store.get = get
    // `findByName` reads by itself.
    const find = MemoryAccountStore.prototype.get.bind(store, 'ada')
    store.findByName = () => find()
    const answer = await new Browser(app).login()
    t.equal(answer.statusCode, status)
    t.notMatch(String(answer.headers['set-cookie'] ?? ''), /sid=[^;]/)
    t.equal(await app.sessions.count(), 0)
  }
})
