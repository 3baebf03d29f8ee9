import type { FastifyInstance } from 'fastify'
import type { User } from '../../openapi/schemas/user.ts'
import { randomText } from '../support/random.ts'
import type { Accounts } from './accounts.ts'

/** 192 random bits: 32 characters. */
const PASSWORD_BYTES = 24

/** The administrator who can log in again, with the password. */
export interface Recovered {
  user: User
  /** To be shown once, to the operator. */
  password: string
  /** There was no account of that name. */
  created: boolean
  /** Sessions that were ended. */
  ended: number
}

interface Services extends Pick<FastifyInstance, 'sessions'> {
  accounts: Accounts
}

/**
 * A way back in for an operator who has the storage: the account of that name is an administrator who can log in, with
 * a new password, and its sessions have ended. Where there is none it is made.
 *
 * @example
 * ```ts
 * const { password } = await recoverAdministrator(app, 'admin')
 * ```
 * @throws STATEFUL_INVALID_USERNAME, STATEFUL_STORAGE_UNAVAILABLE, STATEFUL_STORAGE_FULL
 */
export async function recoverAdministrator({ accounts, sessions }: Services, username = 'admin'): Promise<Recovered> {
  const password = randomText(PASSWORD_BYTES)
  const role = 'administrator'
  const former = await accounts.findByUsername(username)
  if (!former) {
    const user = await accounts.create({ username, password, role })
    return { user, password, created: true, ended: 0 }
  }
  // First the account, then the sessions: a login under way looks at the account once more when it has one.
  const user = await accounts.update(former.id, { password, role, disabled: false })
  const ended = await sessions.revokeUser(user.id, { reason: 'password changed' })
  return { user, password, created: false, ended }
}
