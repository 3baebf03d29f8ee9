import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Duration } from '../../support/durations.ts'
import type { DecoratorNames } from '../options.ts'
import type { LoginOptions } from './lifecycle.ts'

/**
 * The methods of a request. They are inherited, so that the types of a plugin or an application which has a `login` of
 * its own (@fastify/passport) stand before them, as its decorators do.
 */
export interface SessionRequest {
  /**
   * Begins a session of the user under a fresh id and ends the one the request came with.
   * @param user what `request.session.user` is to be; the option `user` of the plugin says what of it is the identity
   * @throws STATEFUL_TOO_MANY_SESSIONS, STATEFUL_UNIDENTIFIED_USER, STATEFUL_STORAGE_UNAVAILABLE
   * @example await request.login({ id: user.id }, { lifetime: '14d' })
   */
  login(user: unknown, options?: LoginOptions): Promise<void>
  /** Ends the request's session, on every instance, and takes its cookie away. Does nothing without one. */
  logout(): Promise<void>
  /**
   * For what is too sensitive for an old login.
   * @param maxAge how old the login may be; default `'10m'`
   * @throws STATEFUL_UNAUTHENTICATED, STATEFUL_FRESH_LOGIN_REQUIRED
   */
  requireFresh(maxAge?: Duration): void
}

declare module 'fastify' {
  interface FastifyRequest extends SessionRequest {}
}

/** What a request can do with its session, under whichever names. */
export interface RequestActions {
  /** The time by the clock of the sessions, in milliseconds since the Unix epoch. */
  now(): number
  login(request: FastifyRequest, user: unknown, options?: LoginOptions): Promise<void>
  logout(request: FastifyRequest): Promise<void>
  /** Begins a session without a request. @returns its cookie, as a browser sends it */
  issue(user: unknown, options?: LoginOptions): Promise<string>
  requireFresh(request: FastifyRequest, maxAge?: Duration): void
}

/**
 * Gives requests their methods. A name that the application chose is taken at once; a usual one when all plugins have
 * been registered, and only if the name is free: @fastify/passport and many applications have a `login` of their own.
 */
export function decorateRequests(fastify: FastifyInstance, actions: RequestActions, names: DecoratorNames): void {
  const methods = {
    login(this: FastifyRequest, user: unknown, options?: LoginOptions) {
      return actions.login(this, user, options)
    },
    logout(this: FastifyRequest) {
      return actions.logout(this)
    },
    requireFresh(this: FastifyRequest, maxAge?: Duration) {
      return actions.requireFresh(this, maxAge)
    },
  }
  const usual: (keyof typeof methods)[] = []
  for (const method of Object.keys(methods) as (keyof typeof methods)[]) {
    const name = names[method]
    if (name === undefined) usual.push(method)
    else if (name !== false) fastify.decorateRequest(name, methods[method] as never)
  }
  fastify.addHook('onReady', async () => {
    for (const method of usual) {
      if (!fastify.hasRequestDecorator(method)) fastify.decorateRequest(method, methods[method] as never)
    }
  })
}
