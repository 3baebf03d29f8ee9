import { createContext } from 'preact'
import { useContext, useState } from 'preact/hooks'
import { type Action, roleMay } from '../plugins/security/access.ts'
import { told } from './api.ts'

/** The role of who is logged in. */
export const Role = createContext<string | undefined>(undefined)

/**
 * Whether the role of who is logged in allows this, by the table that the server decides by: otherwise there is no
 * button for it, and the server refuses it all the same.
 */
export const useMayAct = (action: Action): boolean => roleMay(useContext(Role), action)

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
