import { Type } from '@sinclair/typebox'
import { MAX_INTEGER } from '../../plugins/support/numbers.ts'

/** The last moment that a JavaScript `Date` can tell, in milliseconds since the Unix epoch. */
const MAX_TIME = 8_640_000_000_000_000

interface Annotations {
  minimum?: number
  maximum?: number
  default?: number
  description?: string
}

/** A whole number that JSON carries unchanged, from 0 unless said otherwise. Every integer of the contract is one. */
export const Integer = (options: Annotations = {}) => Type.Integer({ minimum: 0, maximum: MAX_INTEGER, ...options })

/** How many there are or were. */
export const Count = (description: string) => Integer({ description })

/** Something measured, from 0. */
export const Measure = (description: string) => Type.Number({ minimum: 0, maximum: MAX_INTEGER, description })

/** Any number that is of use: infinities and what JSON has no word for are none. */
export const AnyNumber = (options: Pick<Annotations, 'default' | 'description'> = {}) =>
  Type.Number({ minimum: -MAX_INTEGER, maximum: MAX_INTEGER, ...options })

/** A moment, in milliseconds since the Unix epoch. */
export const Moment = (description: string) => Integer({ maximum: MAX_TIME, description })
