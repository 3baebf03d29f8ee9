import { createContext } from 'preact'
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks'

/** What the reader is asked before something happens that cannot be taken back. */
export interface Question {
  title: string
  text: string
  /** What the button says: what is going to be done. */
  action: string
  /** Asks for a password as well. */
  password?: { label: string; autocomplete: string; minLength?: number }
}

/** The password, `''` where none is asked for; `undefined`: they would rather not. */
export type Ask = (question: Question) => Promise<string | undefined>

export const Asking = createContext<Ask>(async () => undefined)
export const useAsk = (): Ask => useContext(Asking)

/** The dialog and the function that opens it. */
export function useDialog() {
  const [open, setOpen] = useState<{ question: Question; answer: (text: string | undefined) => void }>()
  const ask = useCallback<Ask>((question) => new Promise((answer) => setOpen({ question, answer })), [])
  const dialog = open && (
    <Dialog
      question={open.question}
      onAnswer={(text) => {
        setOpen(undefined)
        open.answer(text)
      }}
    />
  )
  return { ask, dialog }
}

interface DialogProps {
  question: Question
  onAnswer: (text: string | undefined) => void
}

function Dialog({ question: { title, text, action, password }, onAnswer }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null)
  const [typed, setTyped] = useState('')
  useEffect(() => element.current?.showModal(), [])
  return (
    <dialog ref={element} aria-labelledby="question" onCancel={() => onAnswer(undefined)}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          onAnswer(typed)
        }}
      >
        <h2 id="question">{title}</h2>
        <p>{text}</p>
        {password && (
          <label>
            {password.label}
            <input
              type="password"
              autocomplete={password.autocomplete}
              minLength={password.minLength ?? 1}
              required
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          </label>
        )}
        <div class="buttons">
          <button type="button" onClick={() => onAnswer(undefined)}>
            Cancel
          </button>
          <button type="submit" class="danger">
            {action}
          </button>
        </div>
      </form>
    </dialog>
  )
}
