import { type Static, Type } from '@sinclair/typebox'

export const Role = Type.Union([Type.Literal('administrator'), Type.Literal('user')], {
  description: 'What the account may do: an administrator everything, a user read and change what is theirs.',
})
export type Role = Static<typeof Role>

/** An account as others may see it: never the password, nor its hash. */
export const User = Type.Object(
  {
    id: Type.String({ minLength: 1, maxLength: 128 }),
    username: Type.String({ minLength: 1, maxLength: 128 }),
    role: Role,
    displayName: Type.Optional(Type.String({ maxLength: 256 })),
    email: Type.Optional(Type.String({ maxLength: 320 })),
    disabled: Type.Optional(
      Type.Boolean({ description: 'The account is kept, but nobody can log in to it. Absent: one can.' }),
    ),
  },
  { $id: 'User', additionalProperties: false },
)
export type User = Static<typeof User>
