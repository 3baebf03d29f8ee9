import type { User } from '../openapi/schemas/user.ts'
import type { Accounts } from '../plugins/accounts/index.ts'
import { NotFoundError } from '../plugins/support/errors.ts'
import { randomText } from '../plugins/support/random.ts'
import type { JsonOption, TargetOptions } from './options.ts'
import { columns, Output } from './output.ts'
import { answered, restOf } from './server.ts'
import { withServices } from './services.ts'

const PAGE = 500
/** 192 random bits: 32 characters. */
const PASSWORD_BYTES = 24

type UserOptions = TargetOptions & JsonOption
type Role = User['role']

interface Change {
  password?: string
  disabled?: boolean
}

/** What the commands ask for, of a storage or of a server. */
interface Users {
  page(prefix: string, cursor?: string): Promise<{ users: User[]; cursor?: string | undefined }>
  create(user: { username: string; password: string; role: Role }): Promise<User>
  /** Ends the sessions that the change makes void. */
  change(user: User, change: Change): Promise<User>
  delete(user: User): Promise<void>
}

/** Lists the accounts whose names begin with `prefix`. */
export async function listUsers(
  prefix: string | undefined,
  options: UserOptions & { role?: Role | undefined },
): Promise<void> {
  const { role } = options
  const found = await withUsers(options, async (users) => {
    const all: User[] = []
    let cursor: string | undefined
    do {
      const page = await users.page(prefix ?? '', cursor)
      all.push(...page.users.filter((user) => role === undefined || user.role === role))
      cursor = page.cursor
    } while (cursor !== undefined)
    return all
  })
  const rows = found.map(({ username, role, disabled, id }) => [username, role, disabled ? 'disabled' : 'active', id])
  new Output(options).result(found, columns([['USERNAME', 'ROLE', 'STATUS', 'ID'], ...rows]))
}

/** Creates an account, with a password that is shown once. */
export async function createUser(username: string, options: UserOptions & { role: Role }): Promise<void> {
  const password = randomText(PASSWORD_BYTES)
  const user = await withUsers(options, (users) => users.create({ username, password, role: options.role }))
  tellPassword('created', user, password, options)
}

/** Sets a new password, which is shown once, and ends the sessions of the account. */
export async function resetUser(username: string, options: UserOptions): Promise<void> {
  const password = randomText(PASSWORD_BYTES)
  const user = await changeUser(username, { password }, options)
  tellPassword('reset', user, password, options)
}

/** Refuses further logins to the account, and ends its sessions. */
export async function disableUser(username: string, options: UserOptions): Promise<void> {
  const user = await changeUser(username, { disabled: true }, options)
  new Output(options).result(user, `disabled: ${user.username}`)
}

/** The account can log in again. */
export async function enableUser(username: string, options: UserOptions): Promise<void> {
  const user = await changeUser(username, { disabled: false }, options)
  new Output(options).result(user, `enabled: ${user.username}`)
}

/** Deletes an account and ends its sessions. */
export async function deleteUser(username: string, options: UserOptions): Promise<void> {
  const user = await withUsers(options, async (users) => {
    const found = await find(users, username)
    await users.delete(found)
    return found
  })
  new Output(options).result({ deleted: user }, `deleted: ${user.username}`)
}

function changeUser(username: string, change: Change, options: UserOptions): Promise<User> {
  return withUsers(options, async (users) => users.change(await find(users, username), change))
}

function tellPassword(done: string, { username, role }: User, password: string, options: JsonOption): void {
  const line = `${done}: ${role} ${username}, password ${password} (shown this once)`
  new Output(options).result({ username, role, password }, line)
}

async function find(users: Pick<Users, 'page'>, username: string): Promise<User> {
  const { users: found } = await users.page(username)
  const name = username.toLowerCase()
  const user = found.find((one) => one.username.toLowerCase() === name)
  if (!user) throw new NotFoundError(`account of the name '${username}'`)
  return user
}

function withUsers<Result>(
  { url, token, storage }: UserOptions,
  run: (users: Users) => Promise<Result>,
): Promise<Result> {
  if (url !== undefined) return run(usersOfServer({ url, token }))
  return withServices(storage, ({ accounts, sessions }) => run(usersOfStorage(accounts, sessions)))
}

function usersOfServer(server: { url: string; token: string | undefined }): Users {
  const api = restOf(server)
  const at = ({ id }: User) => ({ path: { id } })
  return {
    page: (prefix, cursor) =>
      answered(api.GET('/users', { params: { query: { prefix, limit: 100, ...(cursor ? { cursor } : {}) } } })),
    create: (body) => answered(api.POST('/users', { body })),
    change: (user, body) => answered(api.PATCH('/users/{id}', { params: at(user), body })),
    delete: async (user) => void (await answered(api.DELETE('/users/{id}', { params: at(user) }))),
  }
}

interface Sessions {
  revokeUser(id: string, options: { reason: string }): Promise<number>
}

function usersOfStorage(accounts: Accounts, sessions: Sessions): Users {
  return {
    page: (prefix, cursor) => accounts.list({ prefix, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) }),
    create: (user) => accounts.create(user),
    async change({ id }, change) {
      // First the account, then the sessions: a login under way looks at the account once more when it has one.
      const user = await accounts.update(id, change)
      const reason = change.password === undefined ? 'account disabled' : 'password changed'
      if (change.disabled !== false) await sessions.revokeUser(id, { reason })
      return user
    },
    async delete({ id }) {
      await accounts.delete(id)
      await sessions.revokeUser(id, { reason: 'account deleted' })
    },
  }
}
