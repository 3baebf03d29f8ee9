/** What a client by orval does; compiled and run by generators.test.ts. */
import { getProfile, getStateKey, incrementStateKey, login, setStateKey } from './generated/orval/api'

const [, password = ''] = process.argv.slice(2)

const refused = await getProfile()
if (refused.status !== 401 || refused.data.code !== 'STATEFUL_UNAUTHENTICATED') throw new Error('let in')

const entered = await login({ username: 'admin', password })
if (entered.status !== 200) throw new Error(entered.data.code)
const headers = { cookie: entered.headers.getSetCookie()[0]?.split(';', 1)[0] ?? '' }

const profile = await getProfile({ headers })
if (profile.status !== 200) throw new Error(profile.data.code)
await setStateKey('made', { value: 1 }, undefined, { headers })
await incrementStateKey('made', { by: 2 }, undefined, { headers })
const kept = await getStateKey('made', undefined, { headers })
if (kept.status !== 200) throw new Error('not kept')
const missing = await getStateKey('missing', undefined, { headers })
process.stdout.write(
  JSON.stringify({
    login: entered.data.user.username,
    profile: profile.data.user.username,
    value: kept.data.value,
    missing: missing.status === 404 ? missing.data.code : missing.status,
  }),
)
