import { type Static, Type } from '@sinclair/typebox'
import { MAX_PASSWORD_LENGTH, MAX_USERNAME_LENGTH, Preferences } from './account.ts'
import { Integer } from './numbers.ts'
import { reference } from './responses.ts'
import { Role } from './user.ts'

const GRACE = { id: '0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10', username: 'grace', role: 'user' }
const LOGIN = { user: GRACE, loginCount: 12, loginTime: '2026-03-14T09:26:53.589Z' }

export const Credentials = Type.Object(
  {
    username: Type.String({ minLength: 1, maxLength: MAX_USERNAME_LENGTH, description: 'Of the account.' }),
    password: Type.String({ minLength: 1, maxLength: MAX_PASSWORD_LENGTH, description: 'Of the account.' }),
  },
  {
    $id: 'StatefulCredentials',
    additionalProperties: false,
    description: 'Who logs in, and the proof.',
    examples: [{ username: 'grace', password: 'compilers are fun' }],
  },
)
export type Credentials = Static<typeof Credentials>

/** Who the session belongs to, as it was at the login. */
export const Identity = Type.Object(
  {
    id: Type.String({ description: 'Of the user; never changes.' }),
    username: Type.Optional(Type.String({ description: 'What the user logged in with.' })),
    role: Type.Optional(Role),
  },
  {
    $id: 'StatefulIdentity',
    additionalProperties: false,
    description: 'Who the session belongs to, as it was at the login.',
    examples: [GRACE],
  },
)
export type Identity = Static<typeof Identity>

const loginFields = {
  user: reference(Identity),
  loginCount: Integer({ minimum: 1, description: 'How often the user has logged in, this time included.' }),
  loginTime: Type.String({ format: 'date-time', description: 'When the user logged in to this session.' }),
}

export const LoginResult = Type.Object(loginFields, {
  $id: 'StatefulLoginResult',
  additionalProperties: false,
  description: 'The session that the login began; its cookie comes with this answer.',
  examples: [LOGIN],
})
export type LoginResult = Static<typeof LoginResult>

export const Profile = Type.Object(
  {
    ...loginFields,
    lastActivity: Type.String({ format: 'date-time', description: 'When the session was used before this request.' }),
    preferences: reference(Preferences),
  },
  {
    $id: 'StatefulProfile',
    additionalProperties: false,
    description: 'Who is logged in, since when, and with which preferences.',
    examples: [{ ...LOGIN, lastActivity: '2026-03-14T09:31:07.020Z', preferences: { theme: 'dark' } }],
  },
)
export type Profile = Static<typeof Profile>

export const PreferencesResult = Type.Object(
  { preferences: reference(Preferences) },
  {
    $id: 'StatefulPreferencesResult',
    additionalProperties: false,
    description: 'All preferences, with the change.',
    examples: [{ preferences: { theme: 'dark', pageSize: 50, beta: true } }],
  },
)
export type PreferencesResult = Static<typeof PreferencesResult>
