import { invalidOption } from './options.ts'

/** Characters that a secret has at least. */
const MIN_LENGTH = 32
/** Different characters that a secret has at least. */
const MIN_VARIETY = 8
/** Characters that must be left of a secret in production once all that many people write is taken away. */
const MIN_UNEXPECTED = 16

/** The rule that {@link isSecret} keeps, to follow "must be" in a message. */
export const SECRET_RULE =
  `a text of at least ${MIN_LENGTH} characters, ${MIN_VARIETY} of them different, and in production no placeholder ` +
  "('changeme', an example out of a document), no repeated word and no row of keys; make one with " +
  `node -p "require('crypto').randomBytes(32).toString('base64url')"`

/** Whether a text may sign and encrypt: one rule for the server's variables and for the options of all plugins. */
export function isSecret(text: unknown, production: boolean): text is string {
  if (typeof text !== 'string' || [...text].length < MIN_LENGTH || new Set(text).size < MIN_VARIETY) return false
  return !production || unexpectedCharacters(text) >= MIN_UNEXPECTED
}

/**
 * One or more secrets of an option. What is wrong with them is told by the whole rule, and never by repeating them.
 * @throws STATEFUL_INVALID_OPTION
 */
export function checkedSecrets(given: unknown, option: string, production: boolean): string | string[] {
  const secrets = typeof given === 'string' ? [given] : given
  if (Array.isArray(secrets) && secrets.length > 0 && secrets.every((secret) => isSecret(secret, production))) {
    return given as string | string[]
  }
  throw invalidOption(option, `must be one or more secrets, each of them ${SECRET_RULE}`)
}

/** What placeholders are made of. A word that is missing here costs its letters, not the whole check. */
const WORDS = `
  a above abc admin administrator adipiscing amet an and another any anything api app application as at auth authentication bad bar
  base64 battery baz be because before best better bigger bit bits brown bytes byte cat changeable change changed
  changeit changeme changes changing char character characters chars client code comes commit committed company complex
  config consectetur configuration cookie cookies correct crypto cryptographic cryptographically database default demo deploy
  deployment details dev develop developer development different digits do docs dog dolor domain dont dummy each easy eight elit
  encrypt encrypted encryption enough env environment ever every example examples express extremely fake fastify file
  five fixme foo foobar for four fox from generate generated go good greater guess guessable guesses hard has hash have
  hello here hidden hide hmac horse hundred i id if iloveyou in insecure insert into is it its jumps jwt just keep
  keyboard key keyphrase keys know known knows koa larger lazy least length letmein letters local localhost log login
  long longer lorem ipsum made make master me min mine minimum more must my myapp mysecret name nest never new next
  nextauth nobody node nodejs none not nothing number numbers of old on one only openssl or other our out over own
  pass passphrase passwd password pepper phrase placeholder please private prod production project public put
  quick rand random real really redis remember replace replaced replaceme root salt same sample sauce second secret
  secretkey secrets secure secured securely server service session sessions set seven share shared should sign signed
  signature signing sit six sixteen sixty so some someone something sometimes staging staple stateful store stored string
  strings strong super supersecret tell ten test tested testing tests text than that the their them then there these
  they thing thirty this those thousand three to todo token tokens top try trying twenty two type unique unsafe until
  use used user username users using value values variable very want was we web welcome what when where which who whose
  will with without word words work world would write x xxx xyz yes you your yours zero`
  .trim()
  .split(/\s+/)
  .sort((a, b) => b.length - a.length)

/** What fingers and counting do. Read backwards, too. */
const ROWS = [
  '01234567890123456789',
  'abcdefghijklmnopqrstuvwxyzabcdef',
  '0123456789abcdef0123456789abcdef',
  '1234567890-=qwertyuiop[]asdfghjkl;zxcvbnm,./',
  'qwertyuiopasdfghjklzxcvbnm1234567890qwertyuiop',
  'qwertzuiopüasdfghjklöäyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/',
  'qazwsxedcrfvtgbyhnujmikolp',
  '1q2w3e4r5t6y7u8i9o0p',
  '00112233445566778899aabbccddeeffgghhiijjkkllmmnnooppqqrrssttuuvvwwxxyyzz',
  '!@#$%^&*()_+',
].flatMap((row) => [row, [...row].reverse().join('')])

/** What stands beyond is not looked at: enough has been seen. */
const LONGEST_LOOK = 256
/** Shorter pieces of a row, or repetitions, are chance. */
const SHORTEST_PATTERN = 4
const WRITTEN_AS: Record<string, string> = {
  0: 'o',
  1: 'i',
  3: 'e',
  4: 'a',
  5: 's',
  7: 't',
  '@': 'a',
  $: 's',
  '!': 'i',
}

/**
 * How many letters and digits of a text are neither in a word that placeholders are made of, nor in a row of keys or
 * of numbers, nor a repetition of what stood before. Of something random that is nearly all of it.
 */
export function unexpectedCharacters(text: string): number {
  // Before the case is lost: `mySecretKey` is three words.
  const spaced = text.normalize('NFKC').replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2')
  const letters = spaced.toLowerCase().slice(0, LONGEST_LOOK)
  const words = [...letters].map((letter) => WRITTEN_AS[letter] ?? letter).join('')
  const expected = Array.from(letters, (letter) => !/[\p{L}\p{N}]/u.test(letter))
  // One sign beyond the first plane is two units here and in `words`, but one in `Array.from`.
  if (expected.length !== letters.length) return new Set(letters).size

  const take = (from: number, to: number) => expected.fill(true, from, to)
  for (const row of ROWS) takeCommon(letters, row, take)
  for (let at = 1; at < letters.length; at++) {
    let length = 0
    while (at + length < letters.length && letters.slice(0, at + length).includes(letters.slice(at, at + length + 1))) {
      length += 1
    }
    if (length >= SHORTEST_PATTERN) take(at, at + length)
  }
  takeWords([letters, words], expected)
  return expected.filter((known) => !known).length
}

function takeCommon(text: string, row: string, take: (from: number, to: number) => void): void {
  for (let at = 0; at + SHORTEST_PATTERN <= text.length; ) {
    let length = 0
    while (at + length < text.length && row.includes(text.slice(at, at + length + 1))) length += 1
    if (length >= SHORTEST_PATTERN) take(at, at + length)
    at += Math.max(1, length >= SHORTEST_PATTERN ? length : 1)
  }
}

/** Long words anywhere; short ones, which come up by chance, only between others, signs or the ends. */
function takeWords(texts: string[], expected: boolean[]): void {
  for (const word of WORDS) {
    for (const text of texts) {
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
        const end = at + word.length
        const alone = (expected[at - 1] ?? true) && (expected[end] ?? true)
        if (word.length >= SHORTEST_PATTERN || alone) expected.fill(true, at, end)
      }
    }
  }
}
