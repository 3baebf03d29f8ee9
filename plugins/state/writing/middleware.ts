import type { Json, Op } from '../../../openapi/schemas/state.ts'
import { StateRefusedError } from '../../support/errors.ts'

/** One operation on its way into the log. */
export interface WriteContext {
  readonly space: string
  readonly op: Op['op']
  readonly key: string
  /** The operand: the new value of `set` and `update`, the addend of `increment`, … Assign it to rewrite the write. */
  value: Json | undefined
  /** What the key will hold when this write is its turn. */
  readonly previous: Json | undefined
  /** What the caller of `set` passed as `context`. */
  readonly context: unknown
  /** The client whose write this is, when it came from one. */
  readonly clientId: string | undefined
}

/**
 * A layer around every write of a space. What stands before `next()` may rewrite `ctx.value`; not calling `next()`
 * refuses the write, as does an error. `await next()` returns when the write is durable and visible here, and throws
 * what the write failed with; an error thrown after that reaches the caller but cannot undo the write.
 *
 * It runs again with the newer value when `update` must start over because another instance was faster.
 */
export type Middleware = (ctx: WriteContext, next: () => Promise<void>) => unknown

export interface Passage {
  /** Present while a layer has not reached the core yet. Rejects when the write was refused. */
  entered: Promise<void> | undefined
  /** Settles when all layers have returned. */
  left: Promise<void>
}

/**
 * Sends one operation through the layers. Layers that call `next()` at once reach the core synchronously.
 * @param committed what `next()` of the innermost layer waits for
 */
export function pass(layers: readonly Middleware[], ctx: WriteContext, committed: Promise<unknown>): Passage {
  let reached = false
  let enter = () => {}
  const entered = new Promise<void>((resolve) => {
    enter = resolve
  })

  async function dispatch(index: number): Promise<void> {
    const layer = layers[index]
    if (!layer) {
      reached = true
      enter()
      await committed
      return
    }
    const inner: { rest?: Promise<void> } = {}
    await layer(ctx, () => {
      if (inner.rest) throw new TypeError('a middleware called next() twice')
      inner.rest = dispatch(index + 1)
      // A layer need not await it; the outcome reaches the caller by itself.
      inner.rest.catch(() => {})
      return inner.rest
    })
    // Whether this layer awaited it or not: those around it rely on it.
    await inner.rest
  }

  const left = dispatch(0)
  left.catch(() => {})
  if (reached) return { entered: undefined, left }
  const refused = left.then(() => {
    if (!reached) throw new StateRefusedError(ctx.key)
  })
  refused.catch(() => {})
  return { entered: Promise.race([entered, refused]), left }
}

/**
 * Sends operations through the layers that are committed otherwise than one by one.
 * @param commit runs when all have passed; when it fails, the layers learn that
 * @throws what a layer refuses one of them with, before anything is committed
 */
export async function passAll(
  layers: readonly Middleware[],
  contexts: readonly WriteContext[],
  commit: () => Promise<unknown>,
): Promise<void> {
  let judge: (verdict: Promise<unknown>) => void = () => {}
  const committed = new Promise<unknown>((resolve) => {
    judge = resolve
  })
  committed.catch(() => {})
  const passages = contexts.map((context) => pass(layers, context, committed))
  judge(Promise.all(passages.map(({ entered }) => entered)).then(commit))
  await Promise.all([committed, ...passages.map(({ left }) => left)])
}
