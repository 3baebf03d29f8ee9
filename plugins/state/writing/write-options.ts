import { type Duration, milliseconds } from '../../support/durations.ts'
import { InvalidStateOpError } from '../../support/errors.ts'
import { namesFor, refuseUnknown } from '../../support/options.ts'
import { type LeaseProof, leaseKey } from '../leases/proof.ts'
import { isPlainObject } from '../values/json.ts'
import type { Guard } from './write.ts'

/** What a write may be given beside its value. */
export interface WriteOptions {
  /** The key is deleted after this time, by a commit like any other: milliseconds, or `'5m'`. */
  ttl?: Duration
  /** For the middleware and the listeners of this instance. */
  context?: unknown
  /** The write is refused with STATEFUL_STATE_LEASE_LOST unless this lease still is its holder's. */
  compareLease?: LeaseProof
}

const NAMES = namesFor<WriteOptions>({ ttl: true, context: true, compareLease: true })

export interface ReadWriteOptions {
  ttl: number | undefined
  context: unknown
  guards: Guard[] | undefined
}

const NONE: ReadWriteOptions = { ttl: undefined, context: undefined, guards: undefined }

/**
 * What stands in the place of the options: these, or the context itself, as `state.set('k', 1, { by: 'ada' })` has it. An
 * object with a name of ours is options, and then has no others.
 * @param call what is called, for the message
 * @param useless those that it has no use for: who gives them relies on what will not happen
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION, STATEFUL_STATE_INVALID_OPERATION
 */
export function readWriteOptions(
  given: unknown,
  call = '',
  ...useless: readonly (keyof WriteOptions)[]
): ReadWriteOptions {
  if (given === undefined) return NONE
  const options =
    isPlainObject(given) && Object.keys(given).some((name) => NAMES.has(name)) ? given : { context: given }
  refuseUnknown(options, NAMES, 'options.')
  const { ttl, context, compareLease } = options as WriteOptions
  for (const name of useless) {
    if (options[name] !== undefined) throw new InvalidStateOpError(`${call} takes no ${name}`)
  }
  return {
    ttl: typeof ttl === 'string' ? Math.ceil(milliseconds(ttl, 'ttl')) : ttl,
    context,
    guards: compareLease === undefined ? undefined : [leaseGuard(compareLease)],
  }
}

/** That the lease was not given to anybody else, and not released, since it was taken. */
export function leaseGuard({ name, token }: LeaseProof): Guard {
  if (typeof name !== 'string' || typeof token?.epoch !== 'string' || !Number.isSafeInteger(token.revision)) {
    throw new InvalidStateOpError('compareLease is no lease: it needs { name, token: { epoch, revision } }')
  }
  return { key: leaseKey(name), revision: token.revision, epoch: token.epoch, lease: name }
}
