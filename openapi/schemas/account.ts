import { type Static, Type } from '@sinclair/typebox'
import { AnyNumber } from './numbers.ts'
import { Role } from './user.ts'

/** In characters, as sent and in the normal form (NFKC). */
export const MAX_USERNAME_LENGTH = 128
/** Long enough for any passphrase, short enough that hashing one is no way to keep the server busy. */
export const MAX_PASSWORD_LENGTH = 128
export const MIN_PASSWORD_LENGTH = 8

const Username = Type.String({ minLength: 1, maxLength: MAX_USERNAME_LENGTH, pattern: '^\\S(.*\\S)?$' })
const NewPassword = Type.String({ minLength: MIN_PASSWORD_LENGTH, maxLength: MAX_PASSWORD_LENGTH })

const PreferenceName = '^.{1,64}$'
const PreferenceValue = Type.Union([Type.String({ maxLength: 1024 }), AnyNumber(), Type.Boolean(), Type.Null()])

/** A user's settings in this session: JSON scalars by name. */
export const Preferences = Type.Record(Type.String({ pattern: PreferenceName }), PreferenceValue, {
  $id: 'Preferences',
  additionalProperties: false,
  maxProperties: 50,
})
export type Preferences = Static<typeof Preferences>

/** What `PUT /users/:id` changes; what it does not name stays. */
export const UserChange = Type.Object(
  {
    username: Type.Optional(Username),
    password: Type.Optional(NewPassword),
    role: Type.Optional(Role),
    displayName: Type.Optional(Type.String({ maxLength: 256 })),
    email: Type.Optional(Type.String({ maxLength: 320 })),
    currentPassword: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_PASSWORD_LENGTH,
        description: 'Of whoever asks, instead of a recent login. Wrong ones are counted as failed logins.',
      }),
    ),
  },
  { $id: 'UserChange', additionalProperties: false, minProperties: 1 },
)
export type UserChange = Static<typeof UserChange>
