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
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export function readWriteOptions(given: unknown): ReadWriteOptions {
  if (given === undefined) return NONE
  if (!isPlainObject(given) || !Object.keys(given).some((name) => NAMES.has(name))) return { ...NONE, context: given }
  refuseUnknown(given, NAMES, 'options.')
  const { ttl, context, compareLease } = given as WriteOptions
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
