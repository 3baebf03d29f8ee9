import { type Static, Type } from '@sinclair/typebox'
import { Count, Integer, Measure } from './numbers.ts'
import { reference } from './responses.ts'

const LAPTOP = {
  handle: 'oNKhkSyiqZ1DZbjY9iUZRM',
  current: true,
  createdAt: '2026-03-14T09:26:53.589Z',
  lastActivity: '2026-03-14T09:31:07.020Z',
  ip: '203.0.113.7',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64)',
}

/** A session as its user may see it. */
export const SessionInfo = Type.Object(
  {
    handle: Type.String({ maxLength: 64, description: 'Names the session, to end it by; it opens nothing.' }),
    current: Type.Boolean({ description: 'It is the session of this request.' }),
    createdAt: Type.String({ format: 'date-time', description: 'When it began.' }),
    lastActivity: Type.String({ format: 'date-time', description: 'When it was used last.' }),
    ip: Type.Optional(Type.String({ description: 'Where the login came from.' })),
    userAgent: Type.Optional(Type.String({ description: 'What the client called itself at the login.' })),
  },
  {
    $id: 'StatefulSessionInfo',
    additionalProperties: false,
    description: 'A session, as its user may see it.',
    examples: [LAPTOP],
  },
)
export type SessionInfo = Static<typeof SessionInfo>

export const SessionList = Type.Object(
  {
    current: Type.String({
      description: 'Handle of the session of this request; empty for a machine, which has none.',
    }),
    sessions: Type.Array(reference(SessionInfo), { description: 'The newest first.' }),
    loginCount: Integer({ description: 'How often the user of this request has logged in; 0 for a machine.' }),
  },
  {
    $id: 'StatefulSessionList',
    additionalProperties: false,
    description: 'Where the user is logged in.',
    examples: [{ current: LAPTOP.handle, sessions: [LAPTOP], loginCount: 12 }],
  },
)
export type SessionList = Static<typeof SessionList>

export const RevokedSessions = Type.Object(
  { revoked: Count('Sessions that were ended.') },
  {
    $id: 'StatefulRevokedSessions',
    additionalProperties: false,
    description: 'They are ended, on every instance.',
    examples: [{ revoked: 2 }],
  },
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
  { $id: 'StatefulSessionStats', additionalProperties: false, description: 'The numbers of the sessions.' },
)
export type SessionStats = Static<typeof SessionStats>
