import { type Static, type TSchema, Type } from '@sinclair/typebox'

/** A reference to a schema that `useSchemas` registers, typed as that schema. */
export function reference<S extends TSchema>(schema: S) {
  if (!schema.$id) throw new TypeError('a referenced schema needs an $id')
  return Type.Unsafe<Static<S>>(Type.Ref(schema.$id))
}

/**
 * The schema with other annotations. Spreading it in place would put TypeBox's symbols into the exported type, which
 * declaration files cannot name.
 */
export function annotated<S extends TSchema>(schema: S, annotations: { description?: string; default?: unknown }): S {
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
  415: 'The body must be `application/json`.',
  422: 'The input is well-formed, but its result was refused.',
  429: 'Too many attempts; `Retry-After` says when to try again.',
  500: 'Something failed here; the log has the cause under the `requestId`.',
  503: 'The storage does not answer or the process is closing; try again later.',
  507: 'The storage is full.',
} as const

type ProblemStatus = keyof typeof meanings

/** The `response` entries of the problems that a route can answer; 500 and 503 always belong to them. */
export function problems(...statuses: ProblemStatus[]) {
  const entry = (status: ProblemStatus) => ({
    description: meanings[status],
    content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
  })
  return Object.fromEntries([...statuses, 500 as const, 503 as const].map((status) => [status, entry(status)]))
}
