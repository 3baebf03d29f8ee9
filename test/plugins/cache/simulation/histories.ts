import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Owner } from '../../../fixtures/cleanup.ts'

/** What is played: invalidations, or writes that wait for their handler. */
export type Game = 'invalidations' | 'write-behind'

export interface Histories {
  /** Default `'invalidations'`. */
  game?: Game
  /** Folder of a copy with a guard taken out; the real engine without. */
  engine?: string
  histories: number
  seed: number
  /** Look for the smallest history that fails. Default `true`. */
  shrink?: boolean
}

export interface Outcome {
  failed: boolean
  /** Histories that were played, up to the one that failed. */
  runs: number
  /** What failed, and with which history; empty when nothing did. */
  report: string
}

/**
 * Starts a thread that plays random histories, one call at a time: tap follows each promise of the thread that it runs in,
 * and there are so many of them here that this took several times as long as the histories themselves.
 */
export function startHistories(t: Owner): (wanted: Histories) => Promise<Outcome> {
  const thread = new Worker(new URL('./histories-thread.ts', import.meta.url), {
    // Each history leaves a world behind.
    resourceLimits: { maxYoungGenerationSizeMb: 64 },
  })
  t.teardown(() => thread.terminate())
  return async (wanted) => {
    thread.postMessage(wanted)
    const [outcome] = await once(thread, 'message')
    return outcome
  }
}
