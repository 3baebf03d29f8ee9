import { MAX_PASSWORD_LENGTH, MAX_USERNAME_LENGTH, MIN_PASSWORD_LENGTH } from '../../openapi/schemas/account.ts'
import { InvalidPasswordError, InvalidUsernameError } from '../support/errors.ts'

/**
 * Scripts whose letters may stand together in a name, beside what all scripts share (digits, signs, accents): UTS #39
 * §5.2 "Highly Restrictive", from the scripts of UAX #31 that are in everyday use. So no Latin name holds a Cyrillic а.
 */
const SCRIPTS = [
  ['Latin', 'Han', 'Hiragana', 'Katakana'],
  ['Latin', 'Han', 'Bopomofo'],
  ['Latin', 'Han', 'Hangul'],
  ...`Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Hebrew Kannada Khmer Lao
  Malayalam Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan`
    .split(/\s+/)
    .map((script) => [script]),
]
const ONE_SCRIPT = new RegExp(
  SCRIPTS.map((names) => {
    const letters = ['Common', 'Inherited', ...names].map((name) => `\\p{Script_Extensions=${name}}`).join('')
    return `^[${letters}]*$`
  }).join('|'),
  'u',
)

/** Control and format characters, bidirectional ones among them, and all that shows nothing or is nothing. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u115f\u1160\u2800\u3164\uffa0]/u
/** Spaces that are none of ours, at an end, or two of them. */
const ODD_SPACE = /(?! )\p{Zs}|^ | $| {2}/u
/** An accent without a letter, more than a language needs, or a dot on a letter that has one. */
const ODD_ACCENT = /^\p{M}|[^\p{L}\p{N}\p{M}]\p{M}|\p{M}{5}|[ij]\u0307/u
/** Latin letters of phonetics and the like, many of them doubles of everyday ones. */
const RARE_LATIN = /(?![A-Za-z\u00aa-\u01bf\u01c4-\u024f\u1e00-\u1eff])(?=\p{L})\p{Script=Latin}/u

/** Letters of other scripts that look like Latin ones. */
const LOOK_LATIN = /^[асԁеһіјӏорԛѕѵԝхуүАВСЕԌНІЈКМОРЅТҮХУԚԜαονριυκγχΑΒΕΖΗΙΚΜΝΟΡΤΥΧօոսհցզյլՕՍՏԼ]$/u

/**
 * What a username is compared by: compatibility forms and case are the same (RFC 8265 §3.3, with NFKC, so that full
 * width and ligatures are no other names). Any name that was ever accepted can be asked for.
 * @throws STATEFUL_INVALID_USERNAME when it is too long in that form: one character can become eighteen
 */
export function nameKey(username: string): string {
  const key = username.normalize('NFKC').toLowerCase().normalize('NFKC')
  // Lower case may be one character longer than upper case.
  if (lengthOf(key) > 2 * MAX_USERNAME_LENGTH || lengthOf(username.normalize('NFKC')) > MAX_USERNAME_LENGTH) {
    throw new InvalidUsernameError(`has more than ${MAX_USERNAME_LENGTH} characters in its normal form`)
  }
  return key
}

/** The key of the everyday letters that a name is easily taken for: Turkish ı is one stroke from i. */
export function plainKey(key: string): string {
  return key.replaceAll('ı', 'i').replaceAll('i\u0307', 'i')
}

/**
 * A new username in its normal form (NFKC).
 * @throws STATEFUL_INVALID_USERNAME when it is too long, shows what it is not, or holds invisible characters
 */
export function newUsername(username: string): string {
  nameKey(username)
  const name = username.normalize('NFKC')
  if (name === '') throw new InvalidUsernameError('is empty')
  if (INVISIBLE.test(name)) throw new InvalidUsernameError('holds a character that cannot be seen')
  if (ODD_SPACE.test(name)) throw new InvalidUsernameError('begins or ends with a space, or has two in a row')
  if (ODD_ACCENT.test(name)) throw new InvalidUsernameError('has an accent where none belongs')
  if (!ONE_SCRIPT.test(name)) throw new InvalidUsernameError('mixes letters of several scripts')
  if (RARE_LATIN.test(name)) throw new InvalidUsernameError('has a letter that is no everyday one')
  const letters = [...name].filter((letter) => /\p{L}/u.test(letter))
  if (letters.length > 0 && letters.every((letter) => LOOK_LATIN.test(letter))) {
    throw new InvalidUsernameError('looks like one in Latin letters, which it is not')
  }
  return name
}

/**
 * What of a password is hashed and checked: its normal form (NFKC, NIST SP 800-63B §5.1.1.2), so that every keyboard
 * and system types the same one.
 * @throws STATEFUL_INVALID_PASSWORD when it is too long in that form, or holds half a surrogate pair
 */
export function normalPassword(password: string): string {
  const normal = password.normalize('NFKC')
  if (lengthOf(normal) > MAX_PASSWORD_LENGTH) {
    throw new InvalidPasswordError(`has more than ${MAX_PASSWORD_LENGTH} characters in its normal form`)
  }
  if (!normal.isWellFormed()) throw new InvalidPasswordError('holds half a surrogate pair')
  return normal
}

/**
 * A new password in its normal form.
 * @throws STATEFUL_INVALID_PASSWORD as `normalPassword`, and when that makes it too short or it holds a control character
 */
export function newPassword(password: string): string {
  const normal = normalPassword(password)
  // What was sent is the schema's to count; here it counts when it became shorter.
  if (lengthOf(normal) < Math.min(MIN_PASSWORD_LENGTH, lengthOf(password))) {
    throw new InvalidPasswordError(`has fewer than ${MIN_PASSWORD_LENGTH} characters in its normal form`)
  }
  if (/\p{Cc}/u.test(normal)) throw new InvalidPasswordError('holds a control character')
  return normal
}

/** In characters, as the schemas count. */
function lengthOf(text: string): number {
  return [...text].length
}
