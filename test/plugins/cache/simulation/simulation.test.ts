import fc from 'fast-check'
import t from 'tap'
import { realEngine } from './engine.ts'
import { plans, play } from './play.ts'

t.setTimeout(600_000)

const HISTORIES = Number(process.env['CACHE_HISTORIES'] ?? 10_000)
/** Fixed, so that a change is judged by the same histories as the one before; another one explores. */
const SEED = Number(process.env['CACHE_SEED'] ?? 1)

t.test(`${HISTORIES} random histories serve nothing that was invalidated`, async (t) => {
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const wrong = await play(realEngine, plan)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    }),
    { numRuns: HISTORIES, seed: SEED },
  )
  t.pass()
})
