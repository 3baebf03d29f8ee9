import type { ComponentType } from 'preact'
import { useCallback, useEffect, useState } from 'preact/hooks'
import type { Profile } from '../openapi/schemas/auth.ts'
import { Role } from './action.ts'
import { get, LOGGED_OUT, RequestError, send, told } from './api.ts'
import { Asking, useDialog } from './ask.tsx'
import { Audit } from './audit.tsx'
import { Cache } from './cache/cache.tsx'
import { Choice } from './choice.tsx'
import { Contract } from './contract.tsx'
import { hangUp } from './live.ts'
import { LoginForm } from './login-form.tsx'
import { Overview } from './overview/overview.tsx'
import { hashOf, useRoute } from './route.ts'
import { Sessions } from './sessions.tsx'
import { State } from './state/state.tsx'
import { Sync } from './sync/sync.tsx'
import { THEMES, type Theme, useTheme } from './theme.ts'
import { Users } from './users.tsx'

export interface ViewProps {
  parameters: Readonly<Record<string, string>>
  /** What is shown now; canvases take their colours when it changes. */
  theme: 'light' | 'dark'
}

/** By their place in the address, in the order of the navigation. */
const VIEWS: readonly (readonly [name: string, title: string, view: ComponentType<ViewProps>])[] = [
  ['overview', 'Overview', Overview],
  ['sessions', 'Sessions', Sessions],
  ['users', 'Users', Users],
  ['state', 'State', State],
  ['cache', 'Cache', Cache],
  ['sync', 'Sync', Sync],
  ['audit', 'Audit', Audit],
  ['contract', 'Contract', Contract],
]

type User = Profile['user']

/** The frame of all views: who is logged in, where to go, and what is asked before something is destroyed. */
export function Console() {
  /** `null`: nobody; `undefined`: not known yet. */
  const [user, setUser] = useState<User | null>()
  const [reason, setReason] = useState('')
  const { theme, shown, choose } = useTheme()
  const { view: place, parameters } = useRoute()
  const { ask, dialog } = useDialog()

  const look = useCallback(async () => {
    try {
      const profile = await get<Profile>('profile')
      setReason('')
      setUser(profile.user)
    } catch (error) {
      if (!(error instanceof RequestError && error.status === 401)) setReason(told(error))
      setUser(null)
    }
  }, [])
  useEffect(() => {
    const leave = () => {
      hangUp()
      setUser(null)
    }
    window.addEventListener(LOGGED_OUT, leave)
    void look()
    return () => window.removeEventListener(LOGGED_OUT, leave)
  }, [look])

  const [name, title, View] = VIEWS.find(([view]) => view === place) ?? (VIEWS[0] as (typeof VIEWS)[number])
  useEffect(() => {
    document.title = user ? `${title} · fastify-stateful` : 'fastify-stateful'
  }, [title, user])

  if (user === undefined) {
    return (
      <main>
        <p role="status">Waiting for the server…</p>
      </main>
    )
  }
  if (user === null) return <LoginForm reason={reason} onLogin={look} />
  return (
    <Role.Provider value={user.role}>
      <Asking.Provider value={ask}>
        <header class="top">
          <p class="brand">fastify-stateful</p>
          <nav aria-label="Views">
            {VIEWS.map(([view, label]) => (
              <a key={view} href={hashOf(view)} aria-current={view === name ? 'page' : undefined}>
                {label}
              </a>
            ))}
          </nav>
          <Choice
            label="Theme"
            value={theme}
            options={THEMES.map((one) => [one, one])}
            onChoose={(chosen) => choose(chosen as Theme)}
          />
          <span class="muted">
            {user.role === 'administrator' ? user.username : `${user.username} (${user.role ?? 'no role'})`}
          </span>
          <button
            type="button"
            onClick={async () => {
              await send('POST', 'logout').catch(() => {})
              hangUp()
              await look()
            }}
          >
            Log out
          </button>
        </header>
        <main>
          <h1>{title}</h1>
          <View key={name} parameters={parameters} theme={shown} />
        </main>
        {dialog}
      </Asking.Provider>
    </Role.Provider>
  )
}
