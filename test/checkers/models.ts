import { isDeepStrictEqual } from 'node:util'

/** A sequential specification: what one operation at a time does to the object and answers. */
export interface Model<State, Op> {
  initial: State
  /** Must not change `state`; return the same object when the operation changes nothing. */
  apply(state: State, op: Op): { state: State; result?: unknown }
  /** The same text for equal states and only for them. Default: `JSON.stringify`. */
  fingerprint?(state: State): string
  /** Parts of a history that share no state are checked apart, which is exponentially cheaper. Default: one part. */
  partition?(op: Op): string
  describe?(op: Op): string
}

export type RegisterOp =
  | { op: 'read' }
  | { op: 'write'; value: unknown }
  /** Answers whether it was swapped. `expected: undefined` means "absent". */
  | { op: 'compareAndSet'; expected: unknown; value: unknown }
  /** Answers the new number; an absent register counts as 0. */
  | { op: 'increment'; by?: number }
  /** Answers whether there was something. */
  | { op: 'delete' }

export type KeyedOp = RegisterOp & { key: string }

/** One register that holds a JSON value or nothing. */
export const register: Model<unknown, RegisterOp> = {
  initial: undefined,
  apply(state, op) {
    switch (op.op) {
      case 'read':
        return { state, result: state }
      case 'write':
        return isDeepStrictEqual(state, op.value) ? { state } : { state: op.value }
      case 'compareAndSet':
        return isDeepStrictEqual(state, op.expected) ? { state: op.value, result: true } : { state, result: false }
      case 'increment': {
        if (state !== undefined && typeof state !== 'number') return { state, result: new Error('not a number') }
        const sum = (state ?? 0) + (op.by ?? 1)
        return { state: sum, result: sum }
      }
      case 'delete':
        return { state: undefined, result: state !== undefined }
    }
  },
  // JSON has no undefined; no JSON text equals this one.
  fingerprint: (state) => (state === undefined ? 'absent' : canonical(state)),
  describe: describeRegisterOp,
}

/** Independent registers by key. Linearizability is local: the whole is linearizable iff each key is. */
export const keyedRegisters: Model<unknown, KeyedOp> = {
  ...register,
  apply: (state, op) => register.apply(state, op),
  partition: (op) => op.key,
  describe: (op) => describeRegisterOp(op, op.key),
}

export type SpaceOp =
  | KeyedOp
  /** All of it or nothing, and nobody sees a part. Answers the list of the single results. */
  | { op: 'transaction'; ops: KeyedOp[] }
  /** Answers all present keys at one moment. */
  | { op: 'snapshot' }

/**
 * All keys as one object: what a space promises beyond its single keys (atomic commits, consistent snapshots).
 * It cannot be partitioned, so keep these histories short.
 */
export const space: Model<Record<string, unknown>, SpaceOp> = {
  initial: {},
  apply(state, op) {
    if (op.op === 'snapshot') return { state, result: state }
    if (op.op !== 'transaction') return applyToKey(state, op)
    let next = state
    const results = op.ops.map((single) => {
      const applied = applyToKey(next, single)
      next = applied.state
      return applied.result
    })
    return { state: next, result: results }
  },
  fingerprint: canonical,
  describe(op) {
    if (op.op === 'snapshot') return 'snapshot()'
    if (op.op === 'transaction') return `transaction(${op.ops.map((o) => describeRegisterOp(o, o.key)).join(', ')})`
    return describeRegisterOp(op, op.key)
  },
}

function applyToKey(state: Record<string, unknown>, op: KeyedOp) {
  const before = state[op.key]
  const { state: after, result } = register.apply(before, op)
  if (after === before) return { state, result }
  const { [op.key]: _, ...rest } = state
  return { state: after === undefined ? rest : { ...rest, [op.key]: after }, result }
}

function describeRegisterOp(op: RegisterOp, key?: string): string {
  const on = key === undefined ? '' : `${key}`
  const values =
    op.op === 'write'
      ? [show(op.value)]
      : op.op === 'compareAndSet'
        ? [show(op.expected), show(op.value)]
        : op.op === 'increment'
          ? [show(op.by ?? 1)]
          : []
  return `${op.op}(${[...(on ? [on] : []), ...values].join(', ')})`
}

export function show(value: unknown): string {
  if (value === undefined) return 'absent'
  return value instanceof Error ? `Error(${value.message})` : canonical(value)
}

/** JSON with sorted keys, so that equal objects give equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
