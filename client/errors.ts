/** A write that was not committed. */
export class WriteError extends Error {
  /** Stable, machine-readable: see docs/errors.md. */
  readonly code: string
  /** `refused`: nothing was written. `unknown`: that cannot be told. */
  readonly outcome: 'refused' | 'unknown'

  constructor(code: string, message: string, outcome: 'refused' | 'unknown' = 'refused') {
    super(message)
    this.name = 'WriteError'
    this.code = code
    this.outcome = outcome
  }
}

/** A replica cannot be had, or not now. */
export class ReplicaError extends Error {
  /** Stable, machine-readable: see docs/errors.md. */
  readonly code: string
  readonly status: Refused

  constructor({ code, message, status }: Refusal) {
    super(message)
    this.name = 'ReplicaError'
    this.code = code
    this.status = status
  }
}

/** Why a replica is not to be had. Only `limited` may pass by itself. */
export type Refused = 'unauthenticated' | 'forbidden' | 'invalid' | 'limited'

export interface Refusal {
  readonly code: string
  readonly message: string
  readonly status: Refused
}

/**
 * What a code means for those who wait; `undefined`: a failure, which may pass.
 * @param mayPass as the server says
 */
export function refusalOf(code: string, message: string, mayPass = false): Refusal | undefined {
  const status = /UNAUTHENTICATED/.test(code)
    ? 'unauthenticated'
    : /FORBIDDEN/.test(code)
      ? 'forbidden'
      : /TOO_MANY|OVERLOADED/.test(code)
        ? 'limited'
        : 'invalid'
  return mayPass && status === 'invalid' ? undefined : { code, message, status }
}
