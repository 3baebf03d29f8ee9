import { difference, type OpenSession, type SessionValues, stringifyValues, textOf } from '../record.ts'
import { keptCookie } from './live-cookie.ts'
import { type Session, type SessionState, valuesOf } from './session.ts'

/** What is kept of a session: its values, and the attributes of its cookie when it has others than the rest. */
export function storedValues(session: Session, { cookie, usual, open }: SessionState): SessionValues {
  const values = valuesOf(session)
  if (cookie) {
    const kept = keptCookie(cookie, usual)
    return kept ? { ...values, cookie: kept } : values
  }
  // It has never been read: it is as it was.
  const text = open?.texts['cookie']
  return text === undefined ? values : { ...values, cookie: JSON.parse(text) }
}

/** The texts of what the session holds now: the very ones of `open` when nothing has changed. */
export function changedTexts(session: Session, state: SessionState, open: OpenSession): OpenSession['texts'] {
  const before = open.texts
  if (isCookieAlike(state, before) && isAlike(session, before)) return before
  const texts = stringifyValues(storedValues(session, state))
  const { set, remove } = difference(before, texts)
  return remove.length === 0 && Object.keys(set).length === 0 ? before : texts
}

function isCookieAlike({ cookie, usual }: SessionState, texts: OpenSession['texts']): boolean {
  if (!cookie) return true
  const kept = keptCookie(cookie, usual)
  return (kept && JSON.stringify(kept)) === texts['cookie']
}

/** What JSON has no word for it writes as one of these; mostly there is neither. */
const mayBeMore = (text: string) => text.includes('null') || text.includes('{}')

/** Whether the values are those of the texts, found out without making a copy: most requests change nothing. */
function isAlike(session: Session, texts: OpenSession['texts']): boolean {
  let alike = 'cookie' in texts ? 1 : 0
  for (const key of Object.keys(session)) {
    if (key === '__proto__') continue
    const value: unknown = session[key as keyof Session]
    if (value === undefined) continue
    const text = textOf(key, value)
    if (text === undefined || text !== texts[key] || mayBeMore(text)) return false
    alike++
  }
  return alike === Object.keys(texts).length
}
