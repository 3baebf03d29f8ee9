import { type Static, Type } from '@sinclair/typebox'
import { Count, Integer, Measure } from './numbers.ts'
import { reference } from './responses.ts'

/** A session as its user may see it. The handle names it for `DELETE /sessions/{handle}` and opens nothing. */
export const SessionInfo = Type.Object(
  {
    handle: Type.String({ maxLength: 64 }),
    current: Type.Boolean({ description: 'It is the session of this request.' }),
    createdAt: Type.String({ format: 'date-time' }),
    lastActivity: Type.String({ format: 'date-time' }),
    ip: Type.Optional(Type.String({ description: 'Where the login came from.' })),
    userAgent: Type.Optional(Type.String({ description: 'What the client called itself at the login.' })),
  },
  { $id: 'SessionInfo', additionalProperties: false },
)
export type SessionInfo = Static<typeof SessionInfo>

export const SessionList = Type.Object(
  {
    current: Type.String({
      description: 'Handle of the session of this request; empty for a machine, which has none.',
    }),
    sessions: Type.Array(reference(SessionInfo)),
    loginCount: Integer({ description: 'How often the user of this request has logged in; 0 for a machine.' }),
  },
  { $id: 'SessionList', additionalProperties: false },
)
export type SessionList = Static<typeof SessionList>

export const RevokedSessions = Type.Object(
  { revoked: Integer() },
  { $id: 'RevokedSessions', additionalProperties: false },
)
export type RevokedSessions = Static<typeof RevokedSessions>

const counter = (description: string) => Count(`${description}, since this instance started.`)

/** Statistics of sessions: the first three are of the storage, the others of one instance. */
export const SessionStats = Type.Object(
  {
    total: Count('Live sessions, anonymous ones included.'),
    activeUsers: Count('Users with at least one live session.'),
    averagePerUser: Measure('Live sessions by active user; 0 without users.'),
    created: counter('Sessions begun'),
    rotated: counter('Sessions that went on under a new id'),
    revoked: counter('Sessions ended before their time'),
    expired: counter('Sessions that ran out'),
    saves: counter('Writes that changed a session'),
    refusedSaves: counter('Writes refused because their session had ended'),
    touches: counter('Writes that recorded a use only'),
    touchesSkipped: counter('Uses not written because a recent one was on record'),
    unreadable: counter('Records that could not be read and were taken for no session'),
  },
  { $id: 'SessionStats', additionalProperties: false },
)
export type SessionStats = Static<typeof SessionStats>
