import { createClient, type StatefulClient } from '../client/index.ts'

let client: StatefulClient | undefined

/** The one live connection of the page, made when a view first wants it. */
export function live(): StatefulClient {
  // The page is at `<prefix>/dashboard`.
  const baseUrl = new URL('.', location.href).pathname.replace(/\/$/, '')
  client ??= createClient({ baseUrl, storage: false })
  return client
}

/** Ends it, with all that came over it: another user may log in. */
export function hangUp(): void {
  client?.close()
  client = undefined
}
