import { type Static, Type } from '@sinclair/typebox'
import { ACTIONS, type Action } from '../../plugins/security/access.ts'
import { MAX_DURATION } from '../../plugins/support/numbers.ts'
import { reference } from './responses.ts'

/** Scopes of one token: there are no more actions. */
const MAX_SCOPES = Object.keys(ACTIONS).length

export const Scope = Type.Unsafe<Action>(
  Type.Union(
    Object.entries(ACTIONS).map(([action, { means }]) => Type.Literal(action, { description: means })),
    { $id: 'StatefulScope', description: 'An action that the token may do.' },
  ),
)

const Scopes = Type.Array(reference(Scope), {
  minItems: 1,
  maxItems: MAX_SCOPES,
  uniqueItems: true,
  description: 'What the token may do, and nothing else.',
})
const Name = Type.String({
  minLength: 1,
  maxLength: 128,
  description: 'Says to people what it is for, such as `prometheus` or `nightly import`.',
})

const METRICS = {
  id: '5fJ2mQ8sVb1cQm2k',
  name: 'prometheus',
  scopes: ['stats:read' as const],
  createdAt: '2026-01-05T08:00:00.000Z',
  createdBy: '0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10',
  expiresAt: '2026-04-05T08:00:00.000Z',
}

/** An access token as it may be shown: never the secret. */
export const TokenInfo = Type.Object(
  {
    id: Type.String({ minLength: 1, maxLength: 64, description: 'Names it; opens nothing.' }),
    name: Name,
    scopes: Scopes,
    createdAt: Type.String({ format: 'date-time', description: 'When it was made.' }),
    createdBy: Type.Optional(Type.String({ description: 'Id of the user who made it.' })),
    expiresAt: Type.Optional(Type.String({ format: 'date-time', description: 'Absent: it does not expire.' })),
    lastUsedAt: Type.Optional(
      Type.String({ format: 'date-time', description: 'To a minute. Absent: it was never used.' }),
    ),
  },
  {
    $id: 'StatefulTokenInfo',
    additionalProperties: false,
    description: 'An access token, as it may be shown.',
    examples: [{ ...METRICS, lastUsedAt: '2026-01-06T12:30:00.000Z' }],
  },
)
export type TokenInfo = Static<typeof TokenInfo>

export const TokenList = Type.Object(
  { tokens: Type.Array(reference(TokenInfo), { description: 'The newest first; expired ones too.' }) },
  {
    $id: 'StatefulTokenList',
    additionalProperties: false,
    description: 'The access tokens.',
    examples: [{ tokens: [METRICS] }],
  },
)
export type TokenList = Static<typeof TokenList>

export const NewToken = Type.Object(
  {
    name: Name,
    scopes: Scopes,
    lifetime: Type.Optional(
      Type.Union(
        [Type.Number({ exclusiveMinimum: 0, maximum: MAX_DURATION }), Type.String({ minLength: 1, maxLength: 32 })],
        {
          description: "How long it is valid: milliseconds, or text such as `'90d'`. Absent: until it is revoked.",
          examples: ['90d', 3_600_000],
        },
      ),
    ),
  },
  {
    $id: 'StatefulNewToken',
    additionalProperties: false,
    description: 'A token that is to be made.',
    examples: [{ name: 'prometheus', scopes: ['stats:read'], lifetime: '90d' }],
  },
)
export type NewToken = Static<typeof NewToken>

export const CreatedToken = Type.Object(
  {
    token: Type.String({ description: 'The secret, shown this once. Send it as `Authorization: Bearer`.' }),
    ...TokenInfo.properties,
  },
  {
    $id: 'StatefulCreatedToken',
    additionalProperties: false,
    description: 'A token that was made, with its secret.',
    examples: [{ token: 'fst_Vb1c9Qm2kX3v5fJ2mQ8sVb1c9Qm2kX3v5fJ2mQ8sX3v', ...METRICS }],
  },
)
export type CreatedToken = Static<typeof CreatedToken>
