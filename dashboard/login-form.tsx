import { useState } from 'preact/hooks'
import { send, told } from './api.ts'

interface LoginFormProps {
  /** Why it is shown, when there is more to say than that nobody is logged in. */
  reason: string
  onLogin: () => void
}

export function LoginForm({ reason, onLogin }: LoginFormProps) {
  const [busy, setBusy] = useState(false)
  const [message, setMessage] = useState(reason)

  async function submit(event: SubmitEvent) {
    event.preventDefault()
    const fields = new FormData(event.currentTarget as HTMLFormElement)
    setBusy(true)
    setMessage('')
    try {
      await send('POST', 'login', {
        username: String(fields.get('username')),
        password: String(fields.get('password')),
      })
      onLogin()
    } catch (error) {
      setMessage(told(error))
      setBusy(false)
    }
  }

  return (
    <main>
      <form class="login" onSubmit={submit}>
        <h1>fastify-stateful</h1>
        <p>The console is for administrators and observers.</p>
        <label>
          Username
          <input name="username" autocomplete="username" autocapitalize="none" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <button type="submit" disabled={busy}>
          {busy ? 'Logging in…' : 'Log in'}
        </button>
        <p class="error" role="alert">
          {message}
        </p>
      </form>
    </main>
  )
}
