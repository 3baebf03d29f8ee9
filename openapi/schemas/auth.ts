import { type Static, Type } from '@sinclair/typebox'
import { MAX_PASSWORD_LENGTH, MAX_USERNAME_LENGTH, Preferences } from './account.ts'
import { Integer } from './numbers.ts'
import { reference } from './responses.ts'
import { Role } from './user.ts'

export const Credentials = Type.Object(
  {
    username: Type.String({ minLength: 1, maxLength: MAX_USERNAME_LENGTH }),
    password: Type.String({ minLength: 1, maxLength: MAX_PASSWORD_LENGTH }),
  },
  { $id: 'Credentials', additionalProperties: false },
)
export type Credentials = Static<typeof Credentials>

/** Who the session belongs to, as it was at the login. */
export const Identity = Type.Object(
  { id: Type.String(), username: Type.Optional(Type.String()), role: Type.Optional(Role) },
  { $id: 'Identity', additionalProperties: false },
)
export type Identity = Static<typeof Identity>

const loginFields = {
  user: reference(Identity),
  loginCount: Integer({ minimum: 1, description: 'How often the user has logged in, this time included.' }),
  loginTime: Type.String({ format: 'date-time' }),
}

export const LoginResult = Type.Object(loginFields, { $id: 'LoginResult', additionalProperties: false })
export type LoginResult = Static<typeof LoginResult>

export const Profile = Type.Object(
  {
    ...loginFields,
    lastActivity: Type.String({ format: 'date-time', description: 'When the session was used before this request.' }),
    preferences: reference(Preferences),
  },
  { $id: 'Profile', additionalProperties: false },
)
export type Profile = Static<typeof Profile>

export const PreferencesResult = Type.Object(
  { preferences: reference(Preferences) },
  { $id: 'PreferencesResult', additionalProperties: false },
)
export type PreferencesResult = Static<typeof PreferencesResult>
