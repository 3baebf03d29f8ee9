import type { Json, Op } from '../openapi/schemas/state.ts'
import type { ElementOf, FieldsOf, OpOn } from '../plugins/state/values/operands.ts'

/** The values of a space by their keys. Without a type of its own, any JSON value under any key. */
// biome-ignore lint/complexity/noBannedTypes: any object type is one, an interface as well
export type Keys = {}
/** Keys of a space whose types were not named: any key, any JSON. */
export interface AnyKeys {
  readonly [key: string]: Json
}

/** The spaces of an application, by name: `{ board: { title: string; [note: `note:${string}`]: Note } }`. */
// biome-ignore lint/complexity/noBannedTypes: as above
export type Spaces = {}

export type KeysOf<S extends Spaces, Name> = Name extends keyof S ? S[Name] & Keys : AnyKeys

export type KeyOf<K extends Keys> = Extract<keyof K, string>

/** All of a space: a key of it may always be missing. */
export type Snapshot<K extends Keys> = [AnyKeys] extends [K] ? AnyKeys : Readonly<Partial<K>>

/** A value as it may be written: JSON, also of a type that an `interface` declares. */
export type Writable<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends
        | bigint
        | symbol
        | ((...args: never[]) => unknown)
        | Date
        | ReadonlyMap<unknown, unknown>
        | ReadonlySet<unknown>
    ? never
    : { readonly [Name in keyof T]: Writable<T[Name]> }

/** What may be written: anything that is JSON (an `interface` is, too) when the keys have no types. */
type Fitting<K extends Keys, Typed, T> = [AnyKeys] extends [K] ? T & Writable<T> : Typed

export type ValueFor<K extends Keys, Key extends KeyOf<K>, T> = Fitting<K, K[Key], T>
/** Some fields of the object under a key. */
export type FieldsFor<K extends Keys, Key extends KeyOf<K>, T> = Fitting<K, FieldsOf<K[Key]>, T>
/** An element of the list under a key. */
export type ElementFor<K extends Keys, Key extends KeyOf<K>, T> = Fitting<K, ElementOf<K[Key]>, T>

/** An operation as it fits the type of its key. */
export type OpFor<K extends Keys, Key extends KeyOf<K>> = [AnyKeys] extends [K]
  ? Op
  : Key extends unknown
    ? OpOn<Key, K[Key]>
    : never
