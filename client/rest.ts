import createFetchClient, { type Client } from 'openapi-fetch'
import { type Asked, askAll } from './credentials.ts'

export interface RestOptions extends Asked {
  baseUrl: string
  credentials: RequestCredentials
  fetch?: ((request: Request) => Promise<Response>) | undefined
}

/** The typed REST client, with what the application gives for each request. */
export function restClient<Paths extends object>({
  baseUrl,
  credentials,
  fetch,
  ...asked
}: RestOptions): Client<Paths> {
  const api = createFetchClient<Paths>({ baseUrl, credentials, ...(fetch ? { fetch } : {}) })
  api.use({
    async onRequest({ request }) {
      const { token, headers } = await askAll(asked)
      for (const [name, value] of Object.entries(headers)) request.headers.set(name, value)
      if (token !== undefined) request.headers.set('authorization', `Bearer ${token}`)
    },
  })
  return api
}
