import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { annotated, problems, reference } from '../../openapi/schemas/responses.ts'
import { Commit, SpaceName, StateChanges } from '../../openapi/schemas/state.ts'
import { asks } from '../../openapi/security.ts'
import { clientOf, credentialOf } from '../../plugins/security/client.ts'
import type { Space, StateManager } from '../../plugins/state/index.ts'
import { EmptySpace } from '../../plugins/state/replica/readable.ts'
import type { Client, ClientLimits } from '../../plugins/support/client-limits.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { StateHistoryGoneError } from '../../plugins/support/errors.ts'
import { preferredType } from '../../plugins/support/http.ts'
import type { LongPolls } from './long-polls.ts'
import { paced } from './paced.ts'

/** Commits of a page of JSON when the query names no other number. */
const PAGE = 1_000
/** Characters that go to the socket together. */
const PART = 64 * 1024
const LINES = 'application/x-ndjson'

export const changesSchema = {
  operationId: 'listStateChanges',
  tags: ['state'],
  security: asks('state:history'),
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
        [LINES]: {
          schema: Type.String({
            description: `A \`${Commit.$id}\` a line.`,
            examples: Commit.examples?.map((commit: unknown) => `${JSON.stringify(commit)}\n`),
          }),
        },
      },
    },
    ...problems(400, 401, 'STATEFUL_SESSION_REVOKED', 403, 410, 429),
  },
}

interface ChangesQuery {
  space?: string
  since: string
  wait?: number
  limit?: number
}

interface Answering {
  polls: LongPolls
  downloads: ClientLimits
  clock: Clock
}

/** Answers `GET /state/changes`. */
export async function answerChanges(
  state: StateManager,
  request: FastifyRequest,
  reply: FastifyReply,
  { polls, downloads, clock }: Answering,
): Promise<StateChanges | FastifyReply> {
  const { since, wait = 0, limit, space: name = 'app' } = request.query as ChangesQuery
  const client = clientOf(request)
  const asLines = preferredType(request.headers.accept, ['application/json', LINES]) === LINES
  const parts = await following(state, name, client, wait, async (space) => {
    const position = await positionOf(space, since)
    const commits =
      space instanceof EmptySpace
        ? await space.history(position)
        : await polls.commitsAfter(space, position, wait, reply.raw, client, credentialOf(request))
    if (!asLines) return page(space, position, commits, limit ?? PAGE)
    if (!commits) throw new StateHistoryGoneError(since)
    return lines(commits.slice(0, limit))
  })
  const onEnd = downloads.take(client)
  reply.header('vary', 'accept').type(asLines ? LINES : 'application/json; charset=utf-8')
  // Not serialised before the socket takes it: a slow reader holds references to commits, not their text.
  return reply.send(paced(reply, parts, { clock, stall: state.clientLimits.stall, onEnd }))
}

/** Who waits for the first commit of a space needs the space; who does not wait need not open one that is empty. */
async function following<Result>(
  state: StateManager,
  name: string,
  client: Client,
  wait: number,
  run: (space: Space | EmptySpace) => Promise<Result>,
): Promise<Result> {
  if (wait === 0) return state.readAs(client, name, run)
  const { space, release } = state.borrow(name, client)
  try {
    await space.ready
    return await run(space)
  } finally {
    release()
  }
}

async function positionOf(space: Space | EmptySpace, since: string): Promise<{ epoch: string; revision: number }> {
  if (since === 'oldest') return space.oldest()
  const split = since.lastIndexOf(':')
  return { epoch: split < 0 ? space.epoch : since.slice(0, split), revision: Number(since.slice(split + 1)) }
}

/** As JSON, where the caller stands after applying the page: it passes that as the next `since`. */
function* page(
  space: Space | EmptySpace,
  position: { epoch: string; revision: number },
  commits: Commit[] | undefined,
  limit: number,
): Generator<string> {
  const page = commits?.slice(0, limit) ?? []
  const last = page.at(-1)
  const whole = page.length === (commits?.length ?? 0)
  const epoch = whole ? space.epoch : last?.epoch
  const revision = commits ? (last?.revision ?? position.revision) : space.revision
  const head: Omit<StateChanges, 'commits'> = { epoch: epoch ?? space.epoch, revision, reset: commits === undefined }
  yield* inParts(chain([`${JSON.stringify(head).slice(0, -1)},"commits":[`], joined(page), [']}']))
}

function* joined(commits: readonly Commit[]): Generator<string> {
  let separator = ''
  for (const commit of commits) {
    yield separator
    yield* textOf(commit)
    separator = ','
  }
}

function lines(commits: readonly Commit[]): Generator<string> {
  function* all() {
    for (const commit of commits) {
      yield* textOf(commit)
      yield '\n'
    }
  }
  return inParts(all())
}

/** Operation by operation: all of a commit may have megabytes. */
function* textOf({ ops, ...rest }: Commit): Generator<string> {
  yield `${JSON.stringify(rest).slice(0, -1)},"ops":[`
  let separator = ''
  for (const op of ops) {
    yield separator + JSON.stringify(op)
    separator = ','
  }
  yield ']}'
}

function* chain(...all: Iterable<string>[]): Generator<string> {
  for (const some of all) yield* some
}

/** Small ones go to the socket together. */
function* inParts(texts: Iterable<string>): Generator<string> {
  let part = ''
  for (const text of texts) {
    part += text
    if (part.length < PART) continue
    yield part
    part = ''
  }
  if (part !== '') yield part
}
