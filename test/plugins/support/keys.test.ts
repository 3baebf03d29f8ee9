import fc from 'fast-check'
import t from 'tap'
import { checkKey as checkCacheKey } from '../../../plugins/cache/names.ts'
import { checkKey as checkStateKey } from '../../../plugins/state/values/json.ts'
import { keyFault, MAX_KEY_BYTES } from '../../../plugins/support/keys.ts'

t.test('a key is a text of 1 to 512 bytes that comes back from UTF-8 as it was', async (t) => {
  for (const key of ['a', 'é', '😀', 'a'.repeat(512), 'é'.repeat(256), '€'.repeat(170), '😀'.repeat(128)]) {
    t.equal(keyFault(key), undefined, key.slice(0, 5))
  }
  t.equal(keyFault(''), 'is empty')
  t.equal(keyFault(1), 'is of type number')
  t.equal(keyFault('a'.repeat(513)), 'has 513 bytes, more than 512')
  t.equal(keyFault('€'.repeat(171)), 'has 513 bytes, more than 512')
  for (const half of ['\ud800', 'a\udc00', '\udc00\ud800']) t.equal(keyFault(half), 'holds half a surrogate pair')
})

t.test('of any text it says what encoding and decoding it show', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 600 })
  const half = fc.constantFrom('\ud800', '\udfff', '')
  fc.assert(
    fc.property(text, half, text, (before, middle, after) => {
      const key = before + middle + after
      const bytes = Buffer.from(key)
      const fine = bytes.length > 0 && bytes.length <= MAX_KEY_BYTES && bytes.toString() === key
      return (keyFault(key) === undefined) === fine
    }),
  )
})

t.test('state and cache refuse the same, each with a code of its own', async (t) => {
  for (const key of ['', 'a'.repeat(513), '\ud800', 5 as unknown as string]) {
    t.throws(() => checkStateKey(key), { code: 'STATEFUL_STATE_INVALID_KEY' })
    t.throws(() => checkCacheKey(key), { code: 'STATEFUL_INVALID_CACHE_KEY' })
  }
  t.throws(() => checkStateKey('a\nb'), { message: /control/ })
})
