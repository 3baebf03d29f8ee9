import type { CookieOptions } from '@fastify/session'
import { difference, type OpenSession, type SessionValues, stringifyValues, textOf } from './record.ts'
import { ownCookie } from './request/cookie.ts'
import { type ShellSession, valuesOf } from './session-objects.ts'

/**
 * What is kept of a session: its values, and the attributes of its cookie when it has others than the rest.
 * @param usual those of the rest
 */
export function storedValues(session: ShellSession, usual: CookieOptions): SessionValues {
  const values = valuesOf(session)
  // Whoever talks to `request.sessionStore` may pass any object.
  const cookie = session.cookie && ownCookie(session.cookie, usual)
  return cookie ? { ...values, cookie } : values
}

/** The texts of what the session holds now: the very ones of `open` when nothing has changed. */
export function changedTexts(session: ShellSession, open: OpenSession, usual: CookieOptions): OpenSession['texts'] {
  const before = open.texts
  if (!('cookie' in before) && isLike(session, before) && !ownCookie(session.cookie, usual)) return before
  const texts = stringifyValues(storedValues(session, usual))
  const { set, remove } = difference(before, texts)
  return remove.length === 0 && Object.keys(set).length === 0 ? before : texts
}

/** Whether the values are those of the texts, found out without making a copy: most requests change nothing. */
function isLike(session: ShellSession, texts: OpenSession['texts']): boolean {
  let alike = 0
  for (const key of Object.keys(session)) {
    if (key === 'cookie' || key === '__proto__') continue
    const text = textOf(key, session[key as keyof ShellSession])
    if (text === undefined) continue
    if (text !== texts[key]) return false
    alike++
  }
  return alike === Object.keys(texts).length
}
