import type { Client } from 'openapi-fetch'
import type { paths } from '../client/api.d.ts'
import { restClient } from '../client/rest.ts'

/** Milliseconds for an answer. */
const REQUEST_TIMEOUT = 10_000

/** The running server refused, or did not answer. */
export class ServerError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ServerError'
    this.code = code
  }
}

export interface Server {
  url: string
  token?: string | undefined
}

/** The typed REST API of a running server. */
export function restOf({ url, token }: Server): Client<paths> {
  return restClient<paths>({
    baseUrl: url.replace(/\/$/, ''),
    credentials: 'omit',
    token,
    fetch: (request) => fetch(request, { signal: AbortSignal.timeout(REQUEST_TIMEOUT) }),
  })
}

interface Answer<Data> {
  data?: Data
  error?: unknown
  response: Response
}

/**
 * What the server answered with.
 * @throws ServerError with the code of the problem document, or STATEFUL_SERVER_UNREACHABLE
 */
export async function answered<Data>(asking: Promise<Answer<Data>>): Promise<Data> {
  const { data, error, response } = await asking.catch((cause: Error) => {
    const why = cause.cause instanceof Error ? cause.cause.message : cause.message
    throw new ServerError(
      'STATEFUL_SERVER_UNREACHABLE',
      `The server did not answer (${why}). Check --url, and that it runs.`,
      { cause },
    )
  })
  if (response.ok) return data as Data
  const { code, detail, title } = (error ?? {}) as { code?: string; detail?: string; title?: string }
  throw new ServerError(code ?? `HTTP_${response.status}`, detail ?? title ?? `The server answered ${response.status}.`)
}
