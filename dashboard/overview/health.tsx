import type { Ready } from '../../openapi/schemas/health.ts'
import type { Stats } from '../../openapi/schemas/stats.ts'
import { get, told } from '../api.ts'
import { useReading } from '../reading.ts'

const WORDS = { ok: 'well', degraded: 'degraded', unavailable: 'unavailable' } as const

/**
 * How all instances do, with the reasons; and whether the one that answers can serve, which it tells without the
 * storage too.
 */
export function HealthStatus({ stats }: { stats: Stats | undefined }) {
  const ready = useReading(
    () =>
      get<Ready>('health/ready').then(
        ({ storage }) => ({ well: true, text: `ready, on ${storage}` }),
        (error: unknown) => ({ well: false, text: told(error) }),
      ),
    [],
    5_000,
  ).value
  const health = stats?.health
  const count = stats?.instances?.length ?? 0
  const ill = ready?.well === false || (health !== undefined && health.status !== 'ok')
  return (
    <div class={ill ? 'health ill' : 'health'} role="status">
      <p>
        {health && (
          <>
            <strong>
              {count === 1 ? 'One instance' : `${count} instances`}: {WORDS[health.status]}.
            </strong>{' '}
          </>
        )}
        {ready ? `This one: ${ready.text}` : ''}
      </p>
      {health && health.reasons.length > 0 && (
        <ul>
          {health.reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
    </div>
  )
}
