import { useCallback, useEffect, useState } from 'preact/hooks'
import { told } from './api.ts'

export interface Reading<Value> {
  /** The latest answer; `undefined` before the first. */
  value: Value | undefined
  /** Why there is no newer one. */
  problem: string | undefined
  /** Asks at once: something was changed. */
  again: () => Promise<void>
}

/** What an empty table says of what fills it. @param nothing when the server has answered that there is nothing */
export function emptyOf({ value, problem }: Pick<Reading<unknown>, 'value' | 'problem'>, nothing: string): string {
  if (value !== undefined) return nothing
  return problem === undefined ? 'Waiting for the server…' : 'It could not be read.'
}

/**
 * How often views look for what others have changed, in milliseconds: within a second, the time of two answers
 * included.
 */
export const SOON = 400

/** An answer that took long is asked for less often: a page keeps the server busy for at most a quarter of the time. */
const REST = 3

/**
 * What the server tells, asked again `ms` after each answer, or later when the answer took long; rests while the page
 * is hidden.
 * @param deps the question: another one forgets the answer
 */
export function useReading<Value>(load: () => Promise<Value>, deps: readonly unknown[], ms = SOON): Reading<Value> {
  const [value, setValue] = useState<Value>()
  const [problem, setProblem] = useState<string>()
  const ask = useCallback(load, deps)
  const again = useCallback(async () => {
    try {
      const answer = await ask()
      setValue(() => answer)
      setProblem(undefined)
    } catch (error) {
      setProblem(told(error))
    }
  }, [ask])

  useEffect(() => {
    let timer: number | undefined
    let ended = false
    const next = async () => {
      const started = performance.now()
      if (!document.hidden) {
        try {
          const answer = await ask()
          if (ended) return
          setValue(() => answer)
          setProblem(undefined)
        } catch (error) {
          if (!ended) setProblem(told(error))
        }
      }
      const took = performance.now() - started
      if (!ended) timer = window.setTimeout(next, Math.max(ms, REST * took))
    }
    const wake = () => {
      if (document.hidden) return
      window.clearTimeout(timer)
      void next()
    }
    setValue(undefined)
    void next()
    document.addEventListener('visibilitychange', wake)
    return () => {
      ended = true
      window.clearTimeout(timer)
      document.removeEventListener('visibilitychange', wake)
    }
  }, [ask, ms])

  return { value, problem, again }
}
