/** What openapi-fetch does with the types of openapi-typescript; compiled and run by generators.test.ts. */
import createClient from 'openapi-fetch'
import type { paths } from './generated/openapi-typescript'

const [baseUrl = '', password = ''] = process.argv.slice(2)

const client = createClient<paths>({ baseUrl })
const refused = await client.GET('/profile')
if (refused.data !== undefined || refused.error?.code !== 'STATEFUL_UNAUTHENTICATED') throw new Error('let in')

const entered = await client.POST('/login', { body: { username: 'admin', password } })
if (!entered.data) throw new Error(entered.error.code)
const headers = { cookie: entered.response.headers.getSetCookie()[0]?.split(';', 1)[0] ?? '' }

const profile = await client.GET('/profile', { headers })
const key = (key: string) => ({ params: { path: { key } }, headers })
await client.PUT('/state/keys/{key}', { ...key('made'), body: { value: 1 } })
await client.POST('/state/keys/{key}/increment', { ...key('made'), body: { by: 2 } })
const kept = await client.GET('/state/keys/{key}', key('made'))
const missing = await client.GET('/state/keys/{key}', key('missing'))
process.stdout.write(
  JSON.stringify({
    login: entered.data.user.username,
    profile: profile.data?.user.username,
    value: kept.data?.value,
    missing: missing.error?.code,
  }),
)
