import t from 'tap'
import { randomText } from '../../../plugins/support/random.ts'

t.test('as long as asked for, never the same, also across the end of a pool', async (t) => {
  const seen = new Set<string>()
  for (let i = 0; i < 10_000; i++) {
    const bytes = [1, 12, 32, 100][i % 4] as number
    const text = randomText(bytes)
    if (Buffer.from(text, 'base64url').length !== bytes || !/^[\w-]+$/.test(text)) t.fail(text)
    if (bytes >= 12) seen.add(text)
  }
  t.equal(seen.size, 7_500)
  t.notOk(
    [...seen].some((text) => /^A+$/.test(text)),
    'nothing of what is wiped comes out',
  )
})
