import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SessionCookies } from '../session/request/signed-cookies.ts'
import { randomText } from '../support/random.ts'

const NAME = 'device'
const DAY = 24 * 60 * 60 * 1_000
/** For how long a device is known after a login, in milliseconds. */
const LIFETIME = 180 * DAY
/** Older ones are replaced at the next login. */
const RENEWED_AFTER = 90 * DAY
const VALUE = /^device:([\w-]{22}):([\w-]{43}):(\d{1,16})$/

/**
 * A signed cookie that says: on this device a login to that account has succeeded. It opens nothing; the throttle of
 * logins goes by it. A device is known for one account, the last.
 */
export class KnownDevice {
  readonly #cookies: SessionCookies
  readonly #now: () => number

  constructor(cookies: SessionCookies, now: () => number) {
    this.#cookies = cookies
    this.#now = now
  }

  /** Names the device, when it is known for this account. */
  of(request: FastifyRequest, account: string): string | undefined {
    return this.#read(request, account)?.id
  }

  /** After a login. Call it when the session's cookie has been set, which stands first. */
  remember(request: FastifyRequest, reply: FastifyReply, account: string): void {
    const known = this.#read(request, account)
    const now = this.#now()
    if (known && now - known.since < RENEWED_AFTER) return
    const id = known?.id ?? randomText(16)
    this.#cookies.set(reply, NAME, `device:${id}:${digest(account)}:${now}`, LIFETIME)
  }

  #read(request: FastifyRequest, account: string): { id: string; since: number } | undefined {
    const [, id, owner, since] = VALUE.exec(this.#cookies.get(request, NAME) ?? '') ?? []
    if (id === undefined || owner !== digest(account)) return undefined
    const age = this.#now() - Number(since)
    return age < LIFETIME ? { id, since: Number(since) } : undefined
  }
}

/** So that the name of the account is in no cookie. */
function digest(account: string): string {
  return createHash('sha256').update(`device ${account}`).digest('base64url')
}
