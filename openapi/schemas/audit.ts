import { type Static, Type } from '@sinclair/typebox'
import { ACTIONS, type Action } from '../../plugins/security/access.ts'
import { Integer, Moment } from './numbers.ts'
import { reference } from './responses.ts'

export const AuditEntry = Type.Object(
  {
    at: Moment('When it was answered, in milliseconds since 1970.'),
    action: Type.Unsafe<Action>(Type.String({ enum: Object.keys(ACTIONS), description: 'What was done.' })),
    by: Type.String({ description: 'Name of the user or of the access token.' }),
    byToken: Type.Boolean({ description: 'Whether it was a machine with an access token.' }),
    resources: Type.Array(
      Type.Record(Type.String(), Type.String(), { description: 'Names what it was, such as `space` and `key`.' }),
      { description: 'To what it was done; of many, the first ten.' },
    ),
    status: Integer({ description: 'Of the answer: below 400 it was done, otherwise it failed.' }),
  },
  {
    $id: 'StatefulAuditEntry',
    additionalProperties: false,
    description: 'One change by somebody who may do what others may not.',
    examples: [
      {
        ...{ at: 1_770_000_000_000, action: 'sessions:revoke', by: 'admin', byToken: false },
        ...{ resources: [{ userId: '0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10' }], status: 200 },
      },
    ],
  },
)
export type AuditEntry = Static<typeof AuditEntry>

export const AuditTrail = Type.Object(
  { entries: Type.Array(reference(AuditEntry), { description: 'The newest first, at most 200.' }) },
  {
    $id: 'StatefulAuditTrail',
    additionalProperties: false,
    description: 'What administrators have changed lately.',
    examples: [{ entries: AuditEntry.examples }],
  },
)
export type AuditTrail = Static<typeof AuditTrail>
