import type { Problem } from '../openapi/schemas/problem.ts'
import type { Stats } from '../openapi/schemas/stats.ts'

export type Scope = Stats['scope']

/** A refusal: `status` decides what to do, `message` is for the reader. Status 0: no answer at all. */
export class RequestError extends Error {
  readonly status: number

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RequestError'
    this.status = status
  }
}

/** A server that does not answer within this many milliseconds counts as one that is away. */
const TIMEOUT = 10_000

/** URLs are relative to the page's own, so that a prefix before /dashboard stands before these too. */
async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', signal: AbortSignal.timeout(TIMEOUT), ...init })
  } catch (cause) {
    throw new RequestError(0, 'The server does not answer.', { cause })
  }
  if (response.ok) return response
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>
  const text = problem.detail ?? problem.title ?? response.statusText
  throw new RequestError(response.status, problem.code ? `${text} (${problem.code})` : text)
}

export async function getStats(scope: Scope): Promise<Stats> {
  return (await request(`stats?scope=${scope}`)).json()
}

export async function resetStats(): Promise<void> {
  await request('stats/reset', { method: 'POST' })
}

export async function login(username: string, password: string): Promise<void> {
  await request('login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username, password }),
  })
}

export async function logout(): Promise<void> {
  await request('logout', { method: 'POST' })
}
