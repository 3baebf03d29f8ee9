import type { FastifyReply, FastifyRequest } from 'fastify'
import type { StateSnapshot } from '../../openapi/schemas/state.ts'
import { clientOf } from '../../plugins/security/client.ts'
import type { StateManager } from '../../plugins/state/index.ts'
import type { Snapshots } from '../../plugins/state/replica/snapshots.ts'
import type { ClientLimits } from '../../plugins/support/client-limits.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { paced } from './paced.ts'

interface Answering {
  snapshots: Snapshots
  downloads: ClientLimits
  clock: Clock
}

/** Answers `GET /state/snapshot`. */
export async function answerSnapshot(
  state: StateManager,
  space: string,
  request: FastifyRequest,
  reply: FastifyReply,
  { snapshots, downloads, clock }: Answering,
): Promise<StateSnapshot | FastifyReply> {
  const client = clientOf(request)
  const leave = downloads.take(client)
  try {
    const { parts, end } = await state.readAs(client, space, (space) => snapshots.read(space, client))
    const onEnd = () => {
      end()
      leave()
    }
    reply.type('application/json; charset=utf-8')
    return reply.send(paced(reply, parts, { clock, stall: state.clientLimits.stall, onEnd }))
  } catch (error) {
    leave()
    throw error
  }
}
