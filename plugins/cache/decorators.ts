import type { CacheNamespace } from './namespace.ts'
import type { LoadOptions } from './types.ts'

type Method<A extends unknown[], R> = (this: object, ...args: A) => Promise<R>

/** Fits methods whose first parameters are `K`: those that the key or the patterns are made from. */
export type MethodDecorator<K extends unknown[]> = <A extends [...K, ...unknown[]], R>(
  method: Method<A, R>,
  context: ClassMethodDecoratorContext,
) => Method<A, R>

/** `@cached`: the decorated method runs only when the cache has no answer. */
export function cachedDecorator<K extends unknown[]>(
  cache: CacheNamespace,
  options: LoadOptions,
  key: ((...args: K) => string) | undefined,
): MethodDecorator<K> {
  return (method, context) =>
    function (this, ...args) {
      const name = key
        ? key(...(args as unknown as K))
        : `${this.constructor.name}.${String(context.name)}:${JSON.stringify(args)}`
      return cache.getOrSet(name, () => method.apply(this, args), options)
    }
}

/** `@invalidatesCache`: not before the method has succeeded, since until then the source still holds the old value. */
export function invalidatingDecorator<K extends unknown[]>(
  cache: CacheNamespace,
  patterns: string | readonly string[] | ((...args: K) => string | readonly string[]),
): MethodDecorator<K> {
  return (method) =>
    async function (this, ...args) {
      const result = await method.apply(this, args)
      const matched = typeof patterns === 'function' ? patterns(...(args as unknown as K)) : patterns
      for (const pattern of typeof matched === 'string' ? [matched] : matched) await cache.deleteMatching(pattern)
      return result
    }
}
