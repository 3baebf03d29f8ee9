import { type Static, Type } from '@sinclair/typebox'
import { AnyNumber } from './numbers.ts'
import { annotated, reference } from './responses.ts'
import { Role, User } from './user.ts'

/** In characters, as sent and in the normal form (NFKC). */
export const MAX_USERNAME_LENGTH = 128
/** Long enough for any passphrase, short enough that hashing one is no way to keep the server busy. */
export const MAX_PASSWORD_LENGTH = 128
export const MIN_PASSWORD_LENGTH = 8

const Username = Type.String({
  minLength: 1,
  maxLength: MAX_USERNAME_LENGTH,
  pattern: '^\\S(.*\\S)?$',
  description: 'What the user logs in with: everyday letters of one script, digits and signs.',
})
const NewPassword = Type.String({
  minLength: MIN_PASSWORD_LENGTH,
  maxLength: MAX_PASSWORD_LENGTH,
  description: 'The new password. Only its hash is kept.',
})
const Cursor = Type.String({ minLength: 1, maxLength: 256, description: 'Of the page before.' })

const CurrentPassword = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: MAX_PASSWORD_LENGTH,
    description: 'Of the caller, instead of a recent login. Wrong ones are counted as failed logins.',
  }),
)

const PreferenceName = '^.{1,64}$'
const PreferenceValue = Type.Union([Type.String({ maxLength: 1024 }), AnyNumber(), Type.Boolean(), Type.Null()])

/** A user's settings in this session: JSON scalars by name. */
export const Preferences = Type.Record(Type.String({ pattern: PreferenceName }), PreferenceValue, {
  $id: 'StatefulPreferences',
  description: 'Settings of a session: texts, numbers, booleans and `null`, by name.',
  examples: [{ theme: 'dark', pageSize: 50, beta: true }],
  additionalProperties: false,
  maxProperties: 50,
})
export type Preferences = Static<typeof Preferences>

/** What `PUT` and `PATCH /users/:id` change; what it does not name stays. */
export const UserChange = Type.Object(
  {
    username: Type.Optional(Username),
    password: Type.Optional(NewPassword),
    role: Type.Optional(Role),
    displayName: Type.Optional(Type.String({ maxLength: 256, description: 'What others see.' })),
    email: Type.Optional(Type.String({ maxLength: 320, description: 'An address; not checked.' })),
    disabled: Type.Optional(
      Type.Boolean({ description: 'Nobody can log in to it any more, and its sessions end; `false`: one can again.' }),
    ),
    currentPassword: CurrentPassword,
  },
  {
    $id: 'StatefulUserChange',
    additionalProperties: false,
    minProperties: 1,
    description: 'What of a user is to be different; what is not named stays.',
    examples: [
      { displayName: 'Grace Hopper', email: 'grace@example.com' },
      { username: 'grace', password: 'compilers are fun', role: 'user' },
    ],
  },
)
export type UserChange = Static<typeof UserChange>

/** What `POST /users` makes. */
export const NewUser = Type.Object(
  {
    username: Username,
    password: NewPassword,
    role: Type.Optional(annotated(Role, { default: 'user' })),
    displayName: Type.Optional(Type.String({ maxLength: 256, description: 'What others see.' })),
    email: Type.Optional(Type.String({ maxLength: 320, description: 'An address; not checked.' })),
    currentPassword: CurrentPassword,
  },
  {
    $id: 'StatefulNewUser',
    additionalProperties: false,
    description: 'A user that is to be created.',
    examples: [{ username: 'grace', password: 'compilers are fun', displayName: 'Grace Hopper' }],
  },
)
export type NewUser = Static<typeof NewUser>

export const UsersQuery = Type.Object(
  {
    prefix: Type.Optional(Type.String({ maxLength: 128, description: 'Only users whose name begins so.' })),
    cursor: Type.Optional(Cursor),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'The most users of a page.' }),
    ),
  },
  { additionalProperties: false },
)
export type UsersQuery = Static<typeof UsersQuery>

export const UserList = Type.Object(
  {
    users: Type.Array(reference(User), { description: 'In the order of their names.' }),
    cursor: Type.Optional(
      Type.String({ description: 'Names the next page, which may be empty. Absent: this is the last one.' }),
    ),
  },
  {
    $id: 'StatefulUserList',
    additionalProperties: false,
    description: 'A page of users.',
    examples: [{ users: [{ id: '0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10', username: 'grace', role: 'user' }] }],
  },
)
export type UserList = Static<typeof UserList>

/** What `POST /password` sets. */
export const PasswordChange = Type.Object(
  { password: NewPassword, currentPassword: CurrentPassword },
  {
    $id: 'StatefulPasswordChange',
    additionalProperties: false,
    description: 'A new password.',
    examples: [{ password: 'compilers are fun', currentPassword: 'nanoseconds of wire' }],
  },
)
export type PasswordChange = Static<typeof PasswordChange>
