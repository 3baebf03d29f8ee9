import type { FastifyInstance } from 'fastify'
import type { Health, InstanceStats } from '../../openapi/schemas/stats.ts'
import type {} from '../security/pressure.ts'
import type {} from '../state/index.ts'
import { pluginName } from '../support/define.ts'

/** Whether the instance refuses requests because it has too many; where there is no limit, never. */
export function isOverloaded(fastify: FastifyInstance): boolean {
  return fastify.hasDecorator('isUnderPressure') && fastify.isUnderPressure()
}

/** Why this instance goes on with what it read of a space before, although its storage answers. */
export function stateFault(fastify: FastifyInstance): Error | undefined {
  if (!fastify.hasPlugin(pluginName('state'))) return undefined
  return fastify.state.spaces().find(({ fault }) => fault !== undefined)?.fault
}

/** What cannot be told by the numbers. */
export interface Faults {
  overloaded: boolean
  state: boolean
}

/** How an instance does, by its numbers: the reasons as an operator would tell them, the gravest first. */
export function healthOf(
  { storage, cache, unavailable }: Pick<InstanceStats, 'storage' | 'cache' | 'unavailable'>,
  { overloaded, state }: Faults,
): Health {
  const grave: string[] = []
  if (storage?.answers === false) grave.push('The storage does not answer.')
  if (state) grave.push('State cannot be followed: the log of a space is damaged.')
  if (overloaded) grave.push('The process is overloaded and refuses requests.')
  const slight: string[] = []
  if (cache?.breaker && cache.breaker.open > 0) slight.push('The cache does without its store: its breaker is open.')
  else if (cache?.coherent === false) slight.push('The first level of the cache is not proven current.')
  if (unavailable.length > 0) slight.push(`There are no numbers of ${unavailable.join(', ')}.`)
  const status = grave.length > 0 ? 'unavailable' : slight.length > 0 ? 'degraded' : 'ok'
  return { status, reasons: [...grave, ...slight] }
}

/**
 * An instance that has not renewed its numbers for so long may be stuck, whatever they say.
 * @param age in milliseconds
 */
export function withSilence(health: Health, age: number, interval: number): Health {
  if (age <= 2 * interval) return health
  const reason = `It was last heard of ${Math.round(age / 1_000)} s ago.`
  return { status: health.status === 'ok' ? 'degraded' : health.status, reasons: [reason, ...health.reasons] }
}

/** How all instances do together: able to serve as long as one is. */
export function clusterHealth(instances: readonly { health?: Health | undefined }[]): Health {
  const all = instances.flatMap(({ health }) => health ?? [])
  const reasons = new Map<string, number>()
  for (const { reasons: own } of all) for (const reason of own) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  const down = all.filter(({ status }) => status === 'unavailable').length
  const well = all.every(({ status }) => status === 'ok')
  return {
    status: well ? 'ok' : down === all.length ? 'unavailable' : 'degraded',
    reasons: [...reasons].map(([reason, count]) =>
      instances.length === 1 ? reason : `${count} of ${instances.length} instances: ${reason}`,
    ),
  }
}
