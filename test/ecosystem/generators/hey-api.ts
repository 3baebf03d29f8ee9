/** What a client by @hey-api/openapi-ts does; compiled and run by generators.test.ts. */
import { getProfile, getStateKey, incrementStateKey, login, setStateKey } from './generated/hey-api'
import { client } from './generated/hey-api/client.gen'

const [baseUrl = '', password = ''] = process.argv.slice(2)

client.setConfig({ baseUrl })
const refused = await getProfile()
if (refused.data !== undefined || refused.error?.code !== 'STATEFUL_UNAUTHENTICATED') throw new Error('let in')

const { data, response } = await login({ body: { username: 'admin', password }, throwOnError: true })
const cookie = response.headers.getSetCookie()[0]?.split(';', 1)[0] ?? ''
// The generator knows the cookie's name from the document.
client.setConfig({ baseUrl, auth: cookie.slice(cookie.indexOf('=') + 1) })

const profile = await getProfile({ throwOnError: true })
await setStateKey({ path: { key: 'made' }, body: { value: 1 }, throwOnError: true })
await incrementStateKey({ path: { key: 'made' }, body: { by: 2 }, throwOnError: true })
const kept = await getStateKey({ path: { key: 'made' }, throwOnError: true })
const missing = await getStateKey({ path: { key: 'missing' } })
process.stdout.write(
  JSON.stringify({
    login: data.user.username,
    profile: profile.data.user.username,
    value: kept.data.value,
    missing: missing.error?.code,
  }),
)
