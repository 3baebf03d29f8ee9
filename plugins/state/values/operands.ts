import type { Json, Op } from '../../../openapi/schemas/state.ts'

/** What the operations take of a value of a declared type; types only, for the server and the client alike. */

type Kind = 'number' | 'list' | 'fields'

type KindOf<Value> = [Json] extends [Value]
  ? Kind
  : [Value] extends [number]
    ? 'number'
    : [Value] extends [readonly unknown[]]
      ? 'list'
      : [Value] extends [object]
        ? 'fields'
        : never

/**
 * Whether a value is of the kind that an operation works on: `unknown` when it is, also where nothing was declared, else
 * `never`. `key: Key & Holds<ValueOf<Key>, 'number'>` takes only the keys of counters.
 */
export type Holds<Value, Of extends Kind> = Of extends KindOf<Exclude<Value, undefined>> ? unknown : never

export type ListOf<Value> = Extract<Value, readonly unknown[]>

/** The elements of a list. */
export type ElementOf<Value> = Value extends readonly (infer Element)[] ? Element : never

/** Some of the fields of an object. */
export type FieldsOf<Value> = Value extends readonly unknown[]
  ? never
  : Value extends object
    ? string extends keyof Value
      ? Value
      : Partial<Value>
    : never

/** An operation on a key of a declared type. */
export type OpOn<Key extends string, Value> =
  | Operation<'set', Key, Exclude<Value, undefined>>
  | { op: 'delete'; key: Key; value?: never; ttl?: never }
  | (unknown extends Holds<Value, 'number'> ? { op: 'increment'; key: Key; value?: number; ttl?: number } : never)
  | (unknown extends Holds<Value, 'list'> ? Operation<'append' | 'setAdd' | 'setRemove', Key, ElementOf<Value>> : never)
  | (unknown extends Holds<Value, 'fields'> ? Operation<'merge', Key, FieldsOf<Value>> : never)

interface Operation<Name extends Op['op'], Key extends string, Operand> {
  op: Name
  key: Key
  value: Operand
  ttl?: number
}
