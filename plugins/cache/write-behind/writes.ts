import { InvalidCacheValueError } from '../../support/errors.ts'
import { namespaceOf } from '../tier/buckets.ts'
import { decode } from '../tier/record.ts'
import type { DeadLetter, JournalEntry } from './journal.ts'

/** One write as its handler gets it: the latest of its key. */
export interface DelayedWrite<T = unknown> {
  /** Ascends, also as text, with the order of the writes of a key: a source that keeps it can refuse an older one. */
  id: string
  namespace: string
  key: string
  value: T
}

/** One that its handler has refused for good. */
export interface DeadWrite<T = unknown> extends DelayedWrite<T> {
  reason: string
  /** When it was given up, ms since the epoch. */
  at: number
}

/** One that waits for its handler, without its value. */
export interface WaitingWrite extends Omit<DelayedWrite, 'value'> {
  /** Since when its key waits, ms since the epoch; it may have been written again meanwhile. */
  since: number
  /** How often this instance has handed it over in vain. */
  attempts: number
}

/**
 * Persists a batch; resolving means that all of it is persisted. A batch that was handed over may come again
 * (after a crash, or when the handler failed), so it has to be idempotent.
 * @param context.signal aborted when the handler has had its time, or when another instance may take over: what is not
 * persisted by then should not be any more, because newer writes may be
 */
export type WriteHandler = (writes: DelayedWrite[], context: { signal: AbortSignal }) => unknown

export interface WriteBehindStats {
  pending: number
  written: number
  retried: number
  dead: number
}

/** @throws STATEFUL_INVALID_CACHE_VALUE for what cannot be read */
export function toWrite({ id, namespace, key, data }: JournalEntry): DelayedWrite {
  const record = decode(data)
  if (!record) throw new InvalidCacheValueError('cannot be read any more')
  return { id, namespace: namespaceOf(namespace), key, value: record.value }
}

/** A dead letter is there to be looked at: even if it cannot be read. */
export function toDeadWrite({ id, namespace, key, data, reason, at }: DeadLetter): DeadWrite {
  return { id, namespace: namespaceOf(namespace), key, value: decode(data)?.value ?? null, reason, at }
}
