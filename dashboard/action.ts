import { createContext } from 'preact'
import { useContext, useState } from 'preact/hooks'
import { told } from './api.ts'

/** Whether who is logged in is shown what changes something: an observer is not. The server refuses it all the same. */
export const MayAct = createContext(false)
export const useMayAct = (): boolean => useContext(MayAct)

/** Runs what the reader wants done, one at a time, and says how it went. */
export function useAction(onDone: () => unknown = () => {}) {
  const [busy, setBusy] = useState(false)
  const [outcome, setOutcome] = useState<{ text: string; failed: boolean }>()
  const run = async (act: () => Promise<string | undefined>) => {
    setBusy(true)
    try {
      const text = await act()
      if (text !== undefined) setOutcome({ text, failed: false })
    } catch (error) {
      setOutcome({ text: told(error), failed: true })
    } finally {
      setBusy(false)
      await onDone()
    }
  }
  return { run, busy, outcome }
}
