import { type Static, Type } from '@sinclair/typebox'
import { ROLES } from './roles.ts'

export const Role = Type.Union([Type.Literal(ROLES[0]), Type.Literal(ROLES[1]), Type.Literal(ROLES[2])], {
  description:
    'What the account may do: an administrator everything; an observer see what an administrator sees, and change nothing but their own account; a user read, and change what is theirs.',
})
export type Role = Static<typeof Role>

/** An account as others may see it: never the password, nor its hash. */
export const User = Type.Object(
  {
    id: Type.String({ minLength: 1, maxLength: 128, description: 'Never changes.' }),
    username: Type.String({ minLength: 1, maxLength: 128, description: 'What the user logs in with.' }),
    role: Role,
    displayName: Type.Optional(Type.String({ maxLength: 256, description: 'What others see.' })),
    email: Type.Optional(Type.String({ maxLength: 320, description: 'An address; not checked.' })),
    disabled: Type.Optional(
      Type.Boolean({ description: 'The account is kept, but nobody can log in to it. Absent: one can.' }),
    ),
  },
  {
    $id: 'StatefulUser',
    additionalProperties: false,
    description: 'An account, as others may see it.',
    examples: [
      { id: '0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10', username: 'grace', role: 'user', displayName: 'Grace Hopper' },
    ],
  },
)
export type User = Static<typeof User>
