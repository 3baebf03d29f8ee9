import t from 'tap'
import { Remembered } from '../../../../plugins/session/remembered.ts'
import { liveSigner } from '../../../../plugins/session/request/signer.ts'

const [first, second, third] = ['a', 'b', 'c'].map((letter) => letter.repeat(32)) as [string, string, string]

t.test('what was verified before the secrets changed is verified again', async (t) => {
  const secrets = [first]
  const signer = liveSigner(secrets)
  const cookie = signer.sign('token')
  const valid = { valid: true, renew: false, value: 'token' }
  t.same([signer.unsign(cookie), signer.unsign(cookie)], [valid, valid])

  secrets.unshift(second)
  t.same(signer.unsign(cookie), { ...valid, renew: true })
  t.not(signer.sign('token'), cookie, 'and signed anew')

  secrets.pop()
  t.equal(signer.unsign(cookie).valid, false, 'a secret that is gone opens nothing')
  t.equal(signer.unsign(signer.sign('token')).valid, true)

  secrets[0] = third
  t.equal(liveSigner(third).unsign(signer.sign('token')).valid, true, 'one that is exchanged in place is noticed, too')
})

t.test('a forged cookie stays invalid, however often it comes', async (t) => {
  const signer = liveSigner(first)
  const cookie = signer.sign('token')
  signer.unsign(cookie)
  for (const forged of [`${cookie}=`, cookie.slice(0, -1), `x${cookie}`, 'token', `token.${cookie}`, '.', '']) {
    for (let n = 0; n < 2; n++) t.same(signer.unsign(forged), { valid: false, renew: false, value: null }, forged)
  }
})

t.test('only so much is remembered, what is in use the longest', async (t) => {
  const remembered = new Remembered<number>(10)
  remembered.set('in use', 0)
  for (let n = 1; n <= 100; n++) {
    remembered.set(`${n}`, n)
    t.equal(remembered.get('in use'), 0)
  }
  const left = Array.from({ length: 100 }, (_, n) => remembered.get(`${n + 1}`)).filter((value) => value !== undefined)
  t.ok(left.length >= 9 && left.length < 20, `${left.length} others are left`)
  remembered.clear()
  t.equal(remembered.get('in use'), undefined)
})
