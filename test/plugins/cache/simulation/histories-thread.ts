/** The thread of `startHistories`. */
import { parentPort } from 'node:worker_threads'
import fc from 'fast-check'
import { engineIn, realEngine } from './engine.ts'
import type { Histories, Outcome } from './histories.ts'
import { plans, play } from './play.ts'

parentPort?.on('message', async ({ engine: folder, histories, seed, shrink = true }: Histories) => {
  const engine = folder === undefined ? realEngine : await engineIn(folder)
  const details = await fc.check(
    fc.asyncProperty(plans, async (plan) => {
      const wrong = await play(engine, plan)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    }),
    { numRuns: histories, seed, endOnFailure: !shrink },
  )
  const report = (await fc.asyncDefaultReportMessage(details)) ?? ''
  parentPort?.postMessage({ failed: details.failed, runs: details.numRuns, report } satisfies Outcome)
})
