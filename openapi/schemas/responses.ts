import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { MAX_INTEGER } from '../../plugins/support/numbers.ts'
import { generalCodes, type ProblemCode, statusOfCode } from '../problem-examples.ts'
import { Problem } from './problem.ts'

/** A reference to a schema that `useSchemas` registers, typed as that schema. */
export function reference<S extends TSchema>(schema: S) {
  if (!schema.$id) throw new TypeError('a referenced schema needs an $id')
  return Type.Unsafe<Static<S>>(Type.Ref(schema.$id))
}

/**
 * The schema with other annotations. Spreading it in place would put TypeBox's symbols into the exported type, which
 * declaration files cannot name.
 */
export function annotated<S extends TSchema>(
  schema: S,
  annotations: { description?: string; default?: unknown; examples?: readonly unknown[] },
): S {
  return { ...schema, ...annotations }
}

const meanings = {
  400: 'The input was refused; `errors` names each place.',
  401: 'There is no valid session.',
  403: 'The session may not do this.',
  404: 'There is no such thing.',
  406: 'None of the accepted media types can be produced.',
  409: 'It conflicts with what is there.',
  410: 'What was asked for is not kept any more.',
  412: 'The resource is not at the revision that `If-Match` names.',
  413: 'The input is too large.',
  414: 'A part of the path is too long.',
  415: 'The body must be `application/json`.',
  422: 'The input is well-formed, but its result was refused.',
  429: 'Too many attempts; `Retry-After` says when to try again.',
  500: 'Something failed here; the log has the cause under the `requestId`.',
  503: 'The storage does not answer or the process is closing; try again later.',
  507: 'The storage is full.',
} as const

export type ProblemStatus = keyof typeof meanings

/** Of the answers that say when to come back. */
const retryAfter = {
  'retry-after': {
    type: 'integer',
    minimum: 1,
    maximum: MAX_INTEGER,
    description: 'Seconds after which to try again.',
  },
}

/** A problem response of a route. The documents show an example of each of its codes. */
export interface ProblemResponse {
  description: string
  headers?: object
  content: { 'application/problem+json': { schema: TSchema } }
  codes: ProblemCode[]
}

/**
 * The `response` entries of the problems that a route can answer: of each status, or of each code, which stands for its
 * status and says why. A status alone has the codes that it has everywhere. 500 and 503 always belong to them.
 *
 * @example problems(400, 401, 'STATEFUL_STATE_CONFLICT') // 400, 401, 409, 500, 503
 */
export function problems(...causes: readonly (ProblemStatus | ProblemCode)[]): Record<number, ProblemResponse> {
  const codes = new Map<ProblemStatus, ProblemCode[]>()
  const add = (status: ProblemStatus, more: readonly ProblemCode[]) => {
    codes.set(status, [...new Set([...(codes.get(status) ?? []), ...more])])
  }
  for (const cause of causes) {
    if (typeof cause === 'number') add(cause, generalCodes(cause))
    else add(statusOfCode(cause) as ProblemStatus, [cause])
  }
  for (const always of [500, 503] as const) if (!codes.has(always)) add(always, generalCodes(always))
  return Object.fromEntries([...codes].map(([status, its]) => [status, problemResponse(status, its)]))
}

export function problemResponse(status: ProblemStatus, codes: ProblemCode[]): ProblemResponse {
  return {
    description: meanings[status],
    ...(status === 429 || status === 503 ? { headers: retryAfter } : {}),
    content: { 'application/problem+json': { schema: reference(Problem) } },
    codes,
  }
}
