/** Logins of one account from many addresses, and the device of its owner. */
import t, { type Test } from 'tap'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { Browser, PASSWORD, type SessionAppOptions, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const throttle = { perAccount: 5, delay: { after: 3, first: '1m' } }

async function attacked(t: Test, options: SessionAppOptions = {}) {
  const app = await sessionApp(t, { throttle, server: { trustProxy: ['127.0.0.1'] }, ...options })
  let addresses = 0
  const from = (address: string) => new Browser(app, { 'x-forwarded-for': address })
  const stranger = () => from(`203.0.113.${addresses++ % 256}`)
  const guess = async () => (await stranger().login('ada', 'wrong')).statusCode
  return { app, stranger, guess, from }
}

t.test('guesses from everywhere are delayed, and the owner gets in where they were before', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { stranger, guess, from } = await attacked(t, { storage: await storageUrl(t, kind) })
    const owner = from('192.0.2.1')
    t.equal((await owner.login()).statusCode, 200)
    await owner.post('/logout')
    const outcomes: number[] = []
    for (let n = 0; n < 8; n++) outcomes.push(await guess())
    t.same(outcomes, [401, 401, 401, 429, 429, 429, 429, 429])
    const refused = await stranger().login()
    t.match(refused.json(), { status: 429, code: 'STATEFUL_TOO_MANY_ATTEMPTS' })
    const wait = Number(refused.headers['retry-after'])
    t.ok(wait > 50 && wait <= 60, `${wait} s`)
    t.equal((await owner.login()).statusCode, 200)
    t.equal((await stranger().login('admin')).statusCode, 200, 'other accounts are not concerned')

    const elsewhere = from('198.51.100.7')
    elsewhere.cookies = new Map(owner.cookies)
    t.equal((await elsewhere.login()).statusCode, 200, 'the device, wherever it is')
    elsewhere.cookies.delete('device')
    t.equal((await elsewhere.login()).statusCode, 429, 'a session is no device')
  }),
)

t.test('the cookie of a device is signed, for one account, for half a year, and set once', async (t) => {
  const clock = new ManualClock(Date.now())
  const { app, guess, from } = await attacked(t, { session: { clock } })
  const owner = from('192.0.2.1')
  const login = await owner.login()
  const [session, device] = login.cookies
  t.equal(session?.name, 'sid', 'the session comes first')
  t.match(device, { name: 'device', httpOnly: true, sameSite: 'Lax', path: '/', maxAge: 180 * 86_400 })
  t.notMatch(device?.value, /ada/)
  t.same(
    (await owner.login()).cookies.map(({ name }) => name),
    ['sid'],
    'known already',
  )
  t.equal((await from('192.0.2.1').login('ada', 'wrong')).cookies.length, 0)

  for (let n = 0; n < 3; n++) await guess()
  const value = owner.cookies.get('device') as string
  const status = async (cookie: string, username = 'ada') => {
    const browser = from('198.51.100.1')
    browser.cookies.set('device', cookie)
    return (await browser.login(username)).statusCode
  }
  t.equal(await status(value), 200)
  t.equal(await status(`${value.slice(0, -4)}AAAA`), 429, 'forged')
  t.equal(await status(session?.value as string), 429, 'a session is none')
  const stolen = await new Browser(app, {}).inject({
    url: '/profile',
    headers: { cookie: `sid=${encodeURIComponent(value)}` },
  })
  t.equal(stolen.statusCode, 401, 'and a device is no session')
  const admin = from('192.0.2.2')
  await admin.login('admin')
  t.equal(await status(admin.cookies.get('device') as string), 429, 'known to another account')
  clock.advance(100 * 86_400_000)
  t.equal(await status(value), 200)
  const renewed = await owner.login()
  t.same(
    renewed.cookies.map(({ name }) => name),
    ['sid', 'device'],
  )
  clock.advance(81 * 86_400_000)
  t.equal(await status(value), 429, 'forgotten')
  t.equal(await status(owner.cookies.get('device') as string), 200, 'renewed in time')
})

t.test('in production its attributes are those of the session', async (t) => {
  const { from } = await attacked(t, { session: { production: true } })
  const [, device] = (await from('192.0.2.1').login('ada', PASSWORD)).cookies
  t.match(device, { name: '__Host-device', secure: true, httpOnly: true, path: '/' })
})
