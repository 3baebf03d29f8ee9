import type { Json } from '../../../openapi/schemas/state.ts'

/**
 * Typed keys by declaration merging:
 *
 * ```ts
 * declare module 'fastify-stateful' {
 *   interface StateKeyTypes { visitors: number }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications fill it
export interface StateKeyTypes {}

/** The type of a key's value: what was declared for it, else any JSON. */
export type ValueOf<Key extends string> = Key extends keyof StateKeyTypes ? StateKeyTypes[Key] : Json
