import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { annotated, problems, reference } from '../../openapi/schemas/responses.ts'
import { Commit, SpaceName, StateChanges } from '../../openapi/schemas/state.ts'
import { requestSession } from '../../plugins/session/request-session.ts'
import type { Space } from '../../plugins/state/index.ts'
import { StateHistoryGoneError } from '../../plugins/support/errors.ts'
import type { LongPolls } from './long-polls.ts'

/** Commits of a page of JSON when the query names no other number. */
const PAGE = 1_000
/** Characters that go to the socket together. */
const CHUNK = 64 * 1024
const LINES = 'application/x-ndjson'

export const changesSchema = {
  operationId: 'listStateChanges',
  tags: ['state'],
  summary: 'The commits after a position',
  description:
    'With `wait` the answer comes when there is a commit, or after that time with none. `reset: true` says that the position is not in the retained history.\n\nWith `Accept: application/x-ndjson` the whole rest of the history is streamed as fast as it is read, a commit a line; the position of the last line is the next `since`. A position that is not retained is then answered 410.',
  querystring: Type.Object(
    {
      space: Type.Optional(annotated(SpaceName, { default: 'app', description: 'Which space. Default `app`.' })),
      since: Type.String({
        pattern: '^(oldest|([0-9]{1,16}:[A-Za-z0-9_-]{1,64}:)?[0-9]{1,15})$',
        description:
          '`<epoch>:<revision>`; a revision alone means the present epoch, `oldest` the begin of the retained history.',
      }),
      wait: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 25_000,
          default: 0,
          description: 'Milliseconds to wait for a commit.',
        }),
      ),
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 10_000, description: `Default ${PAGE} for JSON; none for lines.` }),
      ),
    },
    { additionalProperties: false },
  ),
  response: {
    200: {
      description: 'The commits, as a page or as lines.',
      content: {
        'application/json': { schema: reference(StateChanges) },
        [LINES]: { schema: Type.String({ description: `A \`${Commit.$id}\` a line.` }) },
      },
    },
    ...problems(400, 401, 403, 409, 410),
  },
}

interface ChangesQuery {
  since: string
  wait?: number
  limit?: number
}

/** Answers `GET /state/changes`. */
export async function answerChanges(
  space: Space,
  request: FastifyRequest,
  reply: FastifyReply,
  polls: LongPolls,
): Promise<StateChanges | FastifyReply> {
  const { since, wait = 0, limit } = request.query as ChangesQuery
  const position = positionOf(space, since)
  const commits = await polls.commitsAfter(space, position, wait, reply.raw, requestSession(request))
  reply.header('vary', 'accept')
  if (!wantsLines(request.headers.accept)) return page(space, position, commits, limit ?? PAGE)
  if (!commits) throw new StateHistoryGoneError(since)
  // Not serialised before the socket takes it: a slow reader holds references to commits, not their text.
  return reply.type(LINES).send(Readable.from(lines(commits.slice(0, limit)), { objectMode: false }))
}

function positionOf(space: Space, since: string): { epoch: string; revision: number } {
  if (since === 'oldest') return space.oldest
  const split = since.lastIndexOf(':')
  return { epoch: split < 0 ? space.epoch : since.slice(0, split), revision: Number(since.slice(split + 1)) }
}

function wantsLines(accept: string | undefined): boolean {
  return accept?.split(',').some((range) => range.split(';', 1)[0]?.trim().toLowerCase() === LINES) ?? false
}

function page(
  space: Space,
  position: { epoch: string; revision: number },
  commits: Commit[] | undefined,
  limit: number,
): StateChanges {
  if (!commits) return { epoch: space.epoch, revision: space.revision, commits: [], reset: true }
  const page = commits.slice(0, limit)
  // Where the caller stands after applying the page, which it passes as the next `since`.
  const last = page.at(-1)
  const end =
    page.length < commits.length && last ? last : { epoch: space.epoch, revision: last?.revision ?? position.revision }
  return { epoch: end.epoch, revision: end.revision, commits: page, reset: false }
}

function* lines(commits: readonly Commit[]): Generator<string> {
  let chunk = ''
  for (const commit of commits) {
    chunk += `${JSON.stringify(commit)}\n`
    if (chunk.length < CHUNK) continue
    yield chunk
    chunk = ''
  }
  if (chunk !== '') yield chunk
}
