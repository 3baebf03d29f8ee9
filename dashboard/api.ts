import type { Problem } from '../openapi/schemas/problem.ts'

/** A refusal: `status` and `code` decide what to do, `message` is for the reader. Status 0: no answer at all. */
export class RequestError extends Error {
  readonly status: number
  readonly code: string
  /** The places of the input that were refused, where the server tells them. */
  readonly places: NonNullable<Problem['errors']>

  constructor(
    status: number,
    code: string,
    message: string,
    { places = [], ...options }: ErrorOptions & { places?: Problem['errors'] } = {},
  ) {
    super(message, options)
    this.places = places
    this.name = 'RequestError'
    this.status = status
    this.code = code
  }
}

/** A server that does not answer within this many milliseconds counts as one that is away. */
const TIMEOUT = 10_000

/** Raised on the window when an answer says that nobody is logged in any more. */
export const LOGGED_OUT = 'stateful-logged-out'

/** URLs are relative to the page's own, so that a prefix before /dashboard stands before these too. */
async function request(path: string, init: RequestInit): Promise<Response> {
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', signal: AbortSignal.timeout(TIMEOUT), ...init })
  } catch (cause) {
    throw new RequestError(0, '', 'The server does not answer.', { cause })
  }
  if (response.ok) return response
  const { code = '', detail, title, errors } = (await response.json().catch(() => ({}))) as Partial<Problem>
  if (code === 'STATEFUL_UNAUTHENTICATED') window.dispatchEvent(new Event(LOGGED_OUT))
  const text = detail ?? title ?? (response.statusText || `The server answered ${response.status}.`)
  throw new RequestError(response.status, code, code ? `${text} (${code})` : text, errors ? { places: errors } : {})
}

/** What an operation of the server answers. @throws RequestError */
export async function get<Answer>(path: string): Promise<Answer> {
  return (await request(path, {})).json()
}

/**
 * The same, for what is written back: with the tag that a conditional write names, and when it was, by the server's
 * clock.
 */
export async function getTagged<Answer>(path: string): Promise<{ answer: Answer; etag: string; at: number }> {
  const response = await request(path, {})
  const { headers } = response
  const at = Date.parse(headers.get('date') ?? '') || Date.now()
  return { answer: await response.json(), etag: headers.get('etag') ?? '*', at }
}

/** Asks the server to change something. @returns its answer, if it has a body. @throws RequestError */
export async function send<Answer>(
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const json = body === undefined ? {} : { body: JSON.stringify(body) }
  const type = body === undefined ? {} : { 'content-type': 'application/json' }
  const response = await request(path, { method, headers: { ...type, ...headers }, ...json })
  const text = await response.text()
  return (text === '' ? undefined : JSON.parse(text)) as Answer
}

/** A path with a query, without the names that have no value. */
export function withQuery(path: string, query: { [name: string]: string | number | undefined }): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') parameters.set(name, `${value}`)
  return parameters.size === 0 ? path : `${path}?${parameters}`
}

export const told = (error: unknown): string => (error instanceof Error ? error.message : String(error))
