/** What the snippets of the documentation use without declaring it. Each snippet that runs has all of it for itself. */
import { memoryAdapter } from 'better-auth/adapters/memory'
import Fastify from 'fastify'
import { accounts, cache, type Space, session, state, stats, storage, sync, tokens } from 'fastify-stateful'
import { createClient } from 'fastify-stateful/client'

export { default as assert } from 'node:assert/strict'
export { default as httpProxy } from '@fastify/http-proxy'
export { Type } from '@sinclair/typebox'

/** In the query: the plugins that the snippet registers itself. */
const own = new URL(import.meta.url).searchParams.getAll('own')

export const secret = 'a secret that is long enough for a cookie'

/** Has all services but those that the snippet registers itself; none of them where it begins with the storage. */
export const app = Fastify()
if (!own.includes('storage') && !own.includes('stateful')) {
  await app.register(storage, { storage: 'memory:' })
  if (!own.includes('cache')) await app.register(cache)
  if (!own.includes('session')) await app.register(session, { secret })
  if (!own.includes('state')) await app.register(state)
  if (!own.includes('sync')) await app.register(sync)
  if (!own.includes('stats')) await app.register(stats)
  if (!own.includes('accounts')) await app.register(accounts, { bootstrap: false })
  if (!own.includes('tokens')) await app.register(tokens)
}
export const log = app.log

export interface User {
  id: string
  name: string
}
export const id = '1'
export const userId = 'u1'
export const user: User = { id, name: 'Ada' }

const saved: unknown[] = []
/** A database, as far as the snippets ask one. */
export const db = {
  row: user,
  saved,
  users: {
    async find(_id: string | number): Promise<User | undefined> {
      return user
    },
    async save(user: User): Promise<User> {
      saved.push(user)
      return user
    },
    async saveAll(users: unknown[]): Promise<void> {
      saved.push(...users)
    },
  },
  async query(_sql: string, values: unknown[]): Promise<void> {
    saved.push(values)
  },
}
export const database = memoryAdapter({ user: [], session: [], account: [], verification: [] })
export const buffer = Buffer.from('bytes')
export const upstream = 'https://api.example.org'
export const readTeam = async () => [{ id, username: 'ada', role: 'user' }]
export const readItem = async () => ({ price: 3 })
export const writeItem = async () => ({ price: 4 })

export const flags = app.hasDecorator('state') ? app.state.space('flags') : ({} as Space)
export const client = createClient({ baseUrl: 'http://127.0.0.1:9' })

/** Closes what is open. */
export async function end(): Promise<void> {
  await client.close()
  await app.close()
}
