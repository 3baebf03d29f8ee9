import { invalidOption } from '../support/options.ts'
import { type CallNames, callKey } from './calls.ts'
import type { CacheNamespace } from './namespace.ts'
import type { LoadOptions } from './types.ts'

type Method<A extends unknown[], R> = (this: object, ...args: A) => Promise<R>

/**
 * Fits methods whose first parameters are `K`: those that the key or the patterns are made from. As a standard
 * decorator, and as one of TypeScript's `experimentalDecorators`.
 */
export interface MethodDecorator<K extends unknown[]> {
  <A extends [...K, ...unknown[]], R>(method: Method<A, R>, context: ClassMethodDecoratorContext): Method<A, R>
  <A extends [...K, ...unknown[]], R>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method<A, R>>,
  ): void
}

/** Options of the decorator `@cached`. */
export interface CachedOptions extends LoadOptions {
  /** Stands in the keys before the arguments. Default: made of class, method and its text. */
  name?: string
}

/** `@cached`: the decorated method runs only when the cache has no answer. */
export function cachedDecorator<K extends unknown[]>(
  cache: CacheNamespace,
  names: CallNames,
  { name, ...options }: CachedOptions,
  key: ((...args: K) => string) | undefined,
): MethodDecorator<K> {
  return decorator('cached', (method, called) => {
    return function (this, ...args) {
      try {
        const own = key
          ? key(...(args as unknown as K))
          : callKey(name ?? names.ofMethod(`${classOf(this)}.${called}`, method), args)
        return cache.getOrSet(own, () => method.apply(this, args), options)
      } catch (error) {
        return Promise.reject(error)
      }
    }
  })
}

/** `@invalidatesCache`: not before the method has succeeded, since until then the source still holds the old value. */
export function invalidatingDecorator<K extends unknown[]>(
  cache: CacheNamespace,
  patterns: string | readonly string[] | ((...args: K) => string | readonly string[]),
): MethodDecorator<K> {
  return decorator('invalidatesCache', (method) => {
    return async function (this, ...args) {
      const result = await method.apply(this, args)
      const matched = typeof patterns === 'function' ? patterns(...(args as unknown as K)) : patterns
      for (const pattern of typeof matched === 'string' ? [matched] : matched) await cache.deleteMatching(pattern)
      return result
    }
  })
}

type Decorate = <A extends unknown[], R>(method: Method<A, R>, name: string) => Method<A, R>

/** @throws STATEFUL_INVALID_OPTION, when the class is defined, for what is no method */
function decorator<K extends unknown[]>(what: string, decorate: Decorate): MethodDecorator<K> {
  const apply = (first: unknown, second: unknown, descriptor?: TypedPropertyDescriptor<Method<unknown[], unknown>>) => {
    if (typeof second === 'object' && second !== null) {
      const { kind, name } = second as ClassMethodDecoratorContext
      if (kind === 'method') return decorate(first as Method<unknown[], unknown>, String(name))
    } else if (typeof descriptor?.value === 'function') {
      descriptor.value = decorate(descriptor.value, String(second))
      return descriptor
    }
    throw invalidOption(what, 'must decorate a method: what is in a field or an accessor is wrapped by cache.wrap().')
  }
  return apply as MethodDecorator<K>
}

/** A static method is called on its class. */
function classOf(owner: unknown): string {
  if (typeof owner === 'function') return owner.name
  return (owner as { constructor?: { name?: string } } | undefined)?.constructor?.name ?? ''
}
