import { useEffect, useState } from 'preact/hooks'

/** Where the reader is: `#/cache?namespace=users` is the view `cache` with one parameter. It can be sent to others. */
export interface Route {
  view: string
  parameters: Readonly<Record<string, string>>
}

export function routeOf(hash: string): Route {
  const [view = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  return { view, parameters: Object.fromEntries(new URLSearchParams(query)) }
}

export function hashOf(view: string, parameters: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(parameters).filter((entry): entry is [string, string] => Boolean(entry[1]))
  return given.length === 0 ? `#/${view}` : `#/${view}?${new URLSearchParams(given)}`
}

/** Takes the reader to a place, which the button "back" leaves again. */
export function go(view: string, parameters: Readonly<Record<string, string | undefined>> = {}): void {
  location.hash = hashOf(view, parameters)
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const follow = () => setHash(location.hash)
    window.addEventListener('hashchange', follow)
    return () => window.removeEventListener('hashchange', follow)
  }, [])
  return routeOf(hash)
}
