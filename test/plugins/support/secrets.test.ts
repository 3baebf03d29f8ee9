import { randomBytes, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t from 'tap'
import { isSecret, SECRET_RULE, unexpectedCharacters } from '../../../plugins/support/secrets.ts'
import { SECRET } from '../../fixtures/credentials.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

t.test('a secret is long enough and varied, everywhere', async (t) => {
  for (const text of ['', 'short', 'x'.repeat(100), 'abc'.repeat(20), undefined, null, 5, ['a'], {}]) {
    t.notOk(isSecret(text, false), JSON.stringify(text))
    t.notOk(isSecret(text, true), JSON.stringify(text))
  }
  t.notOk(isSecret(randomBytes(24).toString('base64url').slice(0, 31), false), '31 characters')
  t.notOk(isSecret('👍'.repeat(20), false), 'characters, not units')
  t.match(SECRET_RULE, /32 characters.*8 .*different.*placeholder.*randomBytes\(32\)/, 'the rule says all of it')
})

t.test('in production nothing that is written in many places', async (t) => {
  for (const text of [
    'changemechangemechangemechangeme!',
    'change-me-in-production-please-0001',
    'CHANGE_ME_TO_SOMETHING_LONG_AND_RANDOM',
    'ch4ng3m3-ch4ng3m3-n0w-pl34s3-ch4ng3m3',
    'your-secret-key-at-least-32-characters-long',
    'YOUR_SESSION_SECRET_GOES_HERE_MIN_32_CHARS',
    '<your-secret-here-please-make-it-long-enough>',
    'this-is-a-very-long-secret-that-is-at-least-32-chars',
    'thisisasecretthisisasecretthisisasecret',
    'keyboard cat keyboard cat keyboard cat',
    'supersecretsupersecretsupersecret-1',
    'mySuperSecretSessionKeyThatIsLongEnough',
    'averylogphrasebiggerthanthirtytwochars',
    'a secret with minimum length of 32 characters',
    'complex_password_at_least_32_characters_long',
    'insecure-dev-secret-do-not-use-in-prod-12345',
    'replace_me_with_a_real_secret_before_deploying',
    'correct horse battery staple correct horse',
    'The quick brown fox jumps over the lazy dog',
    'lorem ipsum dolor sit amet, consectetur adipiscing',
    'hunter2-hunter2-hunter2-hunter2-hunter2',
    'qwertyuiopasdfghjklzxcvbnm1234567890',
    'zxcvbnm,./asdfghjkl;qwertyuiop[]',
    '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p',
    '0123456789abcdef0123456789abcdef',
    'fedcba9876543210fedcba9876543210',
    '00112233445566778899aabbccddeeff',
    'abcdefghijklmnopqrstuvwxyz012345',
    '98765432109876543210987654321098',
    'ｃｈａｎｇｅｍｅ－ｃｈａｎｇｅｍｅ－ｃｈａｎｇｅｍｅ－１２３４５６',
  ]) {
    t.notOk(isSecret(text, true), text)
  }
})

t.test('in production nothing that stands in this repository as a secret', async (t) => {
  t.ok(isSecret(SECRET, false))
  t.notOk(isSecret(SECRET, true), 'that of the tests')
  const files = ['README.md']
  for (const folder of ['docs', 'examples', 'bench', 'scripts', 'test']) {
    // A copy for mutants has not all of them.
    const names = await readdir(join(root, folder), { recursive: true }).catch(() => [])
    files.push(...names.filter((name) => /\.(md|js|mjs|ts)$/.test(name)).map((name) => join(folder, name)))
  }
  let found = 0
  for (const file of files) {
    if (file.endsWith('secrets.test.ts')) continue
    const text = await readFile(join(root, file), 'utf8').catch(() => '')
    for (const [, secret = ''] of text.matchAll(
      /secret\s*[:=]\s*(?:process\.env\S* \?\? )?['"`]([^'"`\n]{32,})['"`]/gi,
    )) {
      if (secret.includes('://')) continue
      found += 1
      t.notOk(isSecret(secret, true), `${file}: ${secret}`)
    }
  }
  t.ok(found > 0, 'and there are some')
})

t.test('whatever is made at random is a secret, with a name before it or not', async () => {
  const makers = [
    () => randomBytes(32).toString('base64url'),
    () => randomBytes(24).toString('base64'),
    () => randomBytes(16).toString('hex'),
    () => randomUUID(),
    () => `session-secret-${randomBytes(32).toString('hex')}`,
  ]
  for (const make of makers) {
    for (let n = 0; n < 100; n++) {
      const text = make()
      // By chance one in a billion may look like a word; a single other one shows that it was chance.
      if (!isSecret(text, true) && !isSecret(make(), true)) throw new Error(`refused: ${text}`)
    }
  }
})

t.test('any text is judged, and soon', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => unexpectedCharacters(text) >= 0),
    { numRuns: 200 },
  )
  unexpectedCharacters('a1'.repeat(500_000))
})
