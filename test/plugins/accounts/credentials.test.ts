import fc from 'fast-check'
import t from 'tap'
import { Accounts } from '../../../plugins/accounts/accounts.ts'
import { nameKey, newPassword, newUsername, normalPassword } from '../../../plugins/accounts/credentials.ts'
import { MemoryAccountStore } from '../../../plugins/accounts/stores/memory.ts'
import { Browser, PASSWORD, sessionApp } from '../../fixtures/session-app.ts'

const limits = { concurrency: 2, queue: 100 }
const invalidName = { code: 'STATEFUL_INVALID_USERNAME', statusCode: 400 }
const invalidPassword = { code: 'STATEFUL_INVALID_PASSWORD', statusCode: 400 }
/** For the report, which cannot hold everything. */
const escaped = (text: string) =>
  text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
/** One character that is eighteen in its normal form. */
const LONG = '\ufdfa'

t.test('names that people have', async (t) => {
  for (const name of [
    'admin',
    'Ada Lovelace',
    "o'neill-smith_99",
    'ada@example.org',
    'Jürgen Çelik',
    'Nguyễn Thị Đào',
    'İstanbul ışık',
    'Zoë 🎈',
    'Наталья',
    'Γιώργος',
    'דוד',
    'محمد ١٢',
    '山田太郎',
    'ヤマダ tarou 山',
    '김철수 kim',
    'नरेन्द्र',
    'สมชาย',
    'Սարգիս',
    '12345',
  ]) {
    t.equal(newUsername(name), name.normalize('NFKC'), name)
    t.equal(nameKey(newUsername(name)), nameKey(name), name)
  }
})

t.test('names that show what they are not', async (t) => {
  for (const name of [
    '\u0430dmin', // Cyrillic a
    'adm\u0456n',
    '\u0391dmin', // Greek Alpha
    'p\u0430yp\u0430l',
    '\u0430\u0440\u0440\u04cf\u0435', // all Cyrillic, and looks like apple
    '\u0421\u041e\u0421\u041e', // COCO
    '\u0391\u0392\u0395', // Greek ABE
    '\u0585\u0578', // Armenian on
    '\u13aa\u13a0', // Cherokee
    '\u0251dmin', // Latin alpha of phonetics
    '\u1d00dmin',
    'admi\u0307n', // a dot above a letter with a dot
    'admin\u200b',
    'ad\u200dmin',
    'ad\u00admin',
    'ad\u034fmin',
    'ad\ufe0fmin',
    '\u202eadmin',
    'admin\u2069',
    'ad\u0000min',
    'ad\nmin',
    'ad\u0085min',
    'ad\u2028min',
    'ad\ue000min',
    'ad\ufeffmin',
    'ad\u3164min',
    'ad\u2800min',
    'ad\ud800min',
    ' admin',
    'admin\u00a0',
    'ada  lovelace',
    'ada\u1680lovelace',
    '\u0301admin',
    'ad\u0301\u0301\u0301\u0301\u0301min',
    '',
    LONG.repeat(8),
    'a'.repeat(129),
  ]) {
    t.throws(() => newUsername(name), invalidName, escaped(name))
  }
})

t.test('ways of writing are no other names', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  const user = await engine.create({ username: '\uff21\uff44\uff21 \ufb01', password: 'correct horse', role: 'user' })
  t.equal(user.username, 'AdA fi', 'kept in its normal form')
  for (const name of ['ada fi', 'ADA FI', 'ada\u00a0\ufb01', '\uff41da fi']) {
    t.same(await engine.verify(name, 'correct horse'), user, JSON.stringify(name))
    await t.rejects(engine.create({ username: name, password: 'x', role: 'user' }), { code: 'STATEFUL_USERNAME_TAKEN' })
  }
  await engine.create({ username: 'admin', password: 'x', role: 'administrator' })
  const other = await engine.create({ username: 'other', password: 'x', role: 'user' })
  for (const username of ['adm\u0131n', 'ADM\u0130N']) {
    await t.rejects(engine.create({ username, password: 'x', role: 'user' }), { code: 'STATEFUL_USERNAME_TAKEN' })
    await t.rejects(engine.update(other.id, { username }), { code: 'STATEFUL_USERNAME_TAKEN' })
  }
  t.match(await engine.update(other.id, { username: '\u0131\u015f\u0131k' }), { username: '\u0131\u015f\u0131k' })
  t.match(
    await engine.update(other.id, { username: 'I\u015fIK' }),
    { id: other.id },
    'whose name it is may write it so',
  )
  await t.rejects(engine.update(other.id, { username: '\u0430dmin' }), invalidName)
})

t.test('a password is the same from every keyboard', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  const composed = 'caf\u00e9 \ufb01nal \u2460'
  const { id } = await engine.create({ username: 'ada', password: composed, role: 'user' })
  for (const password of [composed, composed.normalize('NFD'), 'caf\u00e9 final 1', 'cafe\u0301\u00a0final 1']) {
    t.match(await engine.verify('ada', password), { id }, JSON.stringify(password))
  }
  for (const password of ['cafe final 1', 'Caf\u00e9 final 1', 'caf\u00e9final 1']) {
    t.equal(await engine.verify('ada', password), undefined, 'case and spaces count')
  }
})

t.test('what is too long, too short or broken in its normal form', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  await engine.create({ username: 'ada', password: 'correct horse', role: 'user' })
  t.throws(() => newPassword(LONG.repeat(8)), invalidPassword)
  t.throws(() => newPassword('e\u0301'.repeat(5)), invalidPassword, 'ten that become five')
  t.throws(() => newPassword('correct\u0000horse'), invalidPassword)
  t.throws(() => normalPassword('correct \ud800 horse'), invalidPassword)
  await t.rejects(engine.verify('ada', LONG.repeat(8)), invalidPassword)
  await t.rejects(engine.verify(LONG.repeat(8), 'correct horse'), invalidName)
  await t.rejects(engine.findByUsername(LONG.repeat(8)), invalidName)
})

t.test('whatever is accepted stays what it is', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      let name: string
      try {
        name = newUsername(text)
      } catch (error) {
        return (error as { code?: string }).code === 'STATEFUL_INVALID_USERNAME'
      }
      return newUsername(name) === name && nameKey(name) === nameKey(text) && nameKey(nameKey(name)) === nameKey(name)
    }),
    { numRuns: 2_000 },
  )
})

t.test('over HTTP it is 400, and who is known is found by every way of writing', async (t) => {
  const app = await sessionApp(t)
  const browser = new Browser(app)
  const login = (username: string, password = PASSWORD) => browser.post('/login', { username, password })
  t.equal((await login('\uff21\uff24\uff21')).statusCode, 200)
  for (const [username, password, code] of [
    [LONG.repeat(100), PASSWORD, 'STATEFUL_INVALID_USERNAME'],
    ['ada', LONG.repeat(100), 'STATEFUL_INVALID_PASSWORD'],
  ] as const) {
    const answer = await login(username, password)
    t.match(answer.json(), { status: 400, code })
    t.match(answer.headers['content-type'], /^application\/problem\+json/)
  }
  t.equal((await login('\u0430da')).statusCode, 401, 'nobody is called so')
})
