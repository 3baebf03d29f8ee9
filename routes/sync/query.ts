import { type Static, Type } from '@sinclair/typebox'
import { SpaceName, topic } from '../../openapi/messages/position.ts'
import { annotated } from '../../openapi/schemas/responses.ts'
import type { Position } from '../../openapi/schemas/state.ts'

/** Text of a position, as event ids have it: `<epoch>.<revision>`. */
export const Since = Type.String({
  pattern: '^[0-9]{1,16}:[A-Za-z0-9_-]{1,64}\\.[0-9]{1,15}$',
  description: 'Continue from this position, `<epoch>.<revision>`, if possible.',
})

/** A parameter of the application's. */
export const OwnParameter = Type.Optional(Type.String({ maxLength: 8_192, description: 'Read by the application.' }))
export const AccessToken = Type.Optional(
  Type.String({
    maxLength: 8_192,
    description: 'What `Authorization: Bearer` would say, for pages: they cannot set headers of a live connection.',
  }),
)
const strict = { additionalProperties: false }

/** Of the WebSocket. */
export const Query = Type.Object(
  {
    space: Type.Optional(annotated(SpaceName, { description: 'Follow this space at once.' })),
    ...topic,
    since: Type.Optional(Since),
    clientId: Type.Optional(
      Type.String({ minLength: 8, maxLength: 128, description: 'Names the client across reconnects, as in `hello`.' }),
    ),
  },
  strict,
)
export type SyncQuery = Static<typeof Query>

export const EventsQuery = Type.Object(
  {
    space: Type.Optional(annotated(SpaceName, { default: 'app', description: 'Which space. Default `app`.' })),
    ...topic,
    since: Type.Optional(Since),
  },
  strict,
)
export type EventsQuery = Static<typeof EventsQuery>

/** Of a trace: one of the two. */
export const TraceQuery = Type.Object(
  {
    node: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: 'The messages of this connection, as the list names it.',
      }),
    ),
    space: Type.Optional(annotated(SpaceName, { description: 'The messages of all connections about this space.' })),
  },
  { ...strict, minProperties: 1, maxProperties: 1 },
)
export type TraceQuery = Static<typeof TraceQuery>

export const NodesQuery = Type.Object(
  {
    scope: Type.Optional(
      Type.Union([Type.Literal('instance'), Type.Literal('cluster')], {
        default: 'instance',
        description: 'Of the instance that answers, or of all.',
      }),
    ),
  },
  strict,
)

/** @param text `<epoch>.<revision>`; its form was checked by the route's schema */
export function positionOf(text: string | undefined): Position | undefined {
  if (text === undefined) return undefined
  const dot = text.lastIndexOf('.')
  return { epoch: text.slice(0, dot), revision: Number(text.slice(dot + 1)) }
}
