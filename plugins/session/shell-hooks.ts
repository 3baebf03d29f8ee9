import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

type Done = (error?: unknown) => void

/** What @fastify/session does with each request. */
export interface ShellHooks {
  onRequest(request: FastifyRequest, reply: FastifyReply, done: Done): void
  onSend(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done): void
}

/** Registers @fastify/session, but keeps its hooks: they run inside ours, and only where they have something to do. */
export async function registerShell(fastify: FastifyInstance, options: FastifySessionOptions): Promise<ShellHooks> {
  const hooks: Partial<ShellHooks> = {}
  const plugin: FastifyPluginCallback<FastifySessionOptions> = (instance, given, next) => {
    const { decorate, decorateRequest } = instance
    const registering = {
      decorate: decorate.bind(instance),
      decorateRequest: decorateRequest.bind(instance),
      addHook(name: keyof ShellHooks, hook: never) {
        hooks[name] = hook
      },
    }
    fastifySession.fastifySession(registering as unknown as FastifyInstance, given, next)
  }
  await fastify.register(fp(plugin, { name: '@fastify/session', dependencies: ['@fastify/cookie'] }), options)
  if (!hooks.onRequest || !hooks.onSend) throw new Error('this version of @fastify/session has not the hooks it had')
  return hooks as ShellHooks
}
