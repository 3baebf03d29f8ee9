import type { FastifyInstance } from 'fastify'
import { RecordCodec } from '../plugins/session/record.ts'
import { sessionStoreOn } from '../plugins/session/stores/on-storage.ts'
import { ownerOf } from '../plugins/session/token.ts'
import { InvalidConfigurationError, NotFoundError } from '../plugins/support/errors.ts'
import type { JsonOption, TargetOptions } from './options.ts'
import { columns, Output } from './output.ts'
import { answered, restOf } from './server.ts'
import { withServices } from './services.ts'

type SessionOptions = TargetOptions & JsonOption

interface Shown {
  handle: string
  createdAt: string
  lastActivity: string
  ip?: string | undefined
  userAgent?: string | undefined
  /** It is encrypted, or damaged: address and agent cannot be read here. */
  unreadable?: true
}

/**
 * Lists the sessions of a user, the newest first.
 * @param user the username, or the id of a user who has no account here
 */
export async function listSessions(user: string, options: SessionOptions): Promise<void> {
  const sessions = await readSessions(user, options)
  const rows = sessions.map(({ handle, createdAt, lastActivity, ip = '', userAgent = '', unreadable }) => {
    return [handle, createdAt, lastActivity, ...(unreadable ? ['?', '?'] : [ip, userAgent])]
  })
  const output = new Output(options)
  output.result(sessions, columns([['HANDLE', 'CREATED', 'LAST ACTIVITY', 'ADDRESS', 'AGENT'], ...rows]))
  if (sessions.some(({ unreadable }) => unreadable)) {
    output.note(
      '?  is encrypted, and only the server has the secret: ask it with --url. `sessions revoke` works here too.',
    )
  }
}

/** Ends sessions by their handles, or with `user` all of that user. */
export async function revokeSessions(
  handles: string[],
  options: SessionOptions & { user?: string | undefined },
): Promise<void> {
  if (handles.length === 0 && options.user === undefined) {
    throw new InvalidConfigurationError('name the handles of sessions, or a user with --user')
  }
  const ended = await revoke(handles, options)
  new Output(options).result({ ended }, `ended sessions: ${ended}`)
}

async function readSessions(user: string, { url, token, storage }: SessionOptions): Promise<Shown[]> {
  if (url !== undefined) {
    const api = restOf({ url, token })
    const userId = await idOnServer(api, user)
    const { sessions } = await answered(api.GET('/sessions', { params: { query: { userId } } }))
    return sessions.map(({ handle, createdAt, lastActivity, ip, userAgent }) => {
      return { handle, createdAt, lastActivity, ip, userAgent }
    })
  }
  return withServices(storage, async (app) => {
    // Not by `app.sessions`, which leaves out what it cannot read.
    const owner = ownerOf(await idOnStorage(app, user))
    const sessions = await sessionStoreOn(app.storage).list(owner, Date.now())
    const codec = new RecordCodec()
    return sessions.map((session) => {
      const times = {
        createdAt: new Date(session.created).toISOString(),
        lastActivity: new Date(session.seen).toISOString(),
      }
      const opened = codec.toOpen(session)
      return { handle: session.id, ...times, ...(opened ? opened.device : { unreadable: true as const }) }
    })
  })
}

async function revoke(
  handles: string[],
  { user, url, token, storage }: SessionOptions & { user?: string | undefined },
): Promise<number> {
  if (url !== undefined) {
    const api = restOf({ url, token })
    if (user === undefined) {
      throw new InvalidConfigurationError('a server wants to know whose sessions they are: --user')
    }
    const userId = await idOnServer(api, user)
    if (handles.length === 0) {
      return (await answered(api.DELETE('/sessions', { params: { query: { userId } } }))).revoked
    }
    for (const handle of handles) {
      await answered(api.DELETE('/sessions/{handle}', { params: { path: { handle }, query: { userId } } }))
    }
    return handles.length
  }
  return withServices(storage, async (app) => {
    if (handles.length === 0) return app.sessions.revokeUser(await idOnStorage(app, user as string))
    for (const handle of handles) {
      if (!(await app.sessions.revoke(handle))) throw new NotFoundError(`live session of the handle '${handle}'`)
    }
    return handles.length
  })
}

async function idOnStorage({ accounts }: FastifyInstance, user: string): Promise<string> {
  return (await accounts.findByUsername(user))?.id ?? user
}

async function idOnServer(api: ReturnType<typeof restOf>, user: string): Promise<string> {
  const { users } = await answered(api.GET('/users', { params: { query: { prefix: user } } }))
  return users.find(({ username }) => username.toLowerCase() === user.toLowerCase())?.id ?? user
}
