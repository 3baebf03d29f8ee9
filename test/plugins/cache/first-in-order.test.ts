import fc from 'fast-check'
import t from 'tap'
import { FirstInOrder } from '../../../plugins/cache/first-in-order.ts'

t.test('it has what sorting all of them has', async () => {
  const texts = fc.array(fc.string({ maxLength: 3 }))
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 5 }), (texts, most) => {
      const first = new FirstInOrder(most)
      for (const text of texts) first.add(text)
      const sorted = [...new Set(texts)].sort((a, b) => (a < b ? -1 : 1)).slice(0, most)
      return JSON.stringify(first.list()) === JSON.stringify(sorted)
    }),
    { numRuns: 300 },
  )
})
