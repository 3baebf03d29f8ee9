import type { Json, Op } from '../../../openapi/schemas/state.ts'
import type { OpOn } from './operands.ts'

/**
 * Typed keys by declaration merging:
 *
 * ```ts
 * declare module 'fastify-stateful' {
 *   interface StateKeyTypes { visitors: number; [note: `note:${string}`]: Note }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications fill it
export interface StateKeyTypes {}

/** The type of a key's value: what was declared for it, or for all keys that begin like it, else any JSON. */
export type ValueOf<Key extends string> = Key extends keyof StateKeyTypes ? StateKeyTypes[Key] : Json

/** An operation as it fits what was declared for its key. */
export type OpOf<Key extends string> = Key extends keyof StateKeyTypes ? OpOn<Key, ValueOf<Key>> : Op
