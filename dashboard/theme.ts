import { useEffect, useState } from 'preact/hooks'

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const KEPT = 'stateful-theme'

function kept(): Theme {
  try {
    const theme = localStorage.getItem(KEPT)
    return THEMES.find((one) => one === theme) ?? 'system'
  } catch {
    // A browser that keeps nothing.
    return 'system'
  }
}

/** What the reader has chosen, and what is shown: a canvas does not follow the style sheet by itself. */
export function useTheme(): { theme: Theme; shown: 'light' | 'dark'; choose: (theme: Theme) => void } {
  const [theme, setTheme] = useState(kept)
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches)
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)')
    const follow = () => setDark(query.matches)
    query.addEventListener('change', follow)
    return () => query.removeEventListener('change', follow)
  }, [])
  const shown = theme === 'system' ? (dark ? 'dark' : 'light') : theme
  document.documentElement.dataset['theme'] = shown
  return {
    theme,
    shown,
    choose(chosen) {
      setTheme(chosen)
      try {
        localStorage.setItem(KEPT, chosen)
      } catch {
        // It holds until the page is left.
      }
    },
  }
}
