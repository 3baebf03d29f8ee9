import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { SyncStats } from '../../openapi/schemas/sync.ts'
import { ADMIN_PASSWORD } from '../fixtures/credentials.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { freePort } from '../fixtures/redis-server.ts'
import { type ServerProcess, startServer } from '../fixtures/server-process.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untrackedFork } from '../fixtures/untracked.ts'
import type { StormReport } from './storm-clients.ts'

const { STORM_CLIENTS } = process.env
/** The real thing: `STORM_CLIENTS=5000`. */
const CLIENTS = Number(STORM_CLIENTS ?? 200)
/** How the server ends: it says goodbye, and gives each client a time to come back, or it does not. */
const ENDS: NodeJS.Signals[] = STORM_CLIENTS ? ['SIGTERM', 'SIGKILL'] : ['SIGKILL']
/** What a user may have at once. */
const CLIENTS_PER_USER = 100
const PROCESSES = 2
const DEADLINE = 30_000
const MAX_MEGABYTES = 512
const KEYS = 1_000

/** A cookie for each client. */
async function cookiesFor(admin: HttpClient): Promise<string[]> {
  const cookies: string[] = []
  for (let user = 0; cookies.length < CLIENTS; user++) {
    const credentials = { username: `user-${user}`, password: `the password of user ${user}` }
    await admin.put(`/users/u${user}`, credentials)
    const client = new HttpClient(admin.url)
    const { status } = await client.login(credentials.username, credentials.password)
    if (status !== 200) throw new Error(`login answered ${status}`)
    for (let index = 0; index < CLIENTS_PER_USER && cookies.length < CLIENTS; index++) cookies.push(client.cookie)
  }
  return cookies
}

function startClients(t: Test, url: string, cookies: string[]): ChildProcess[] {
  const size = Math.ceil(cookies.length / PROCESSES)
  return Array.from({ length: PROCESSES }, (_, index) => {
    const child = fork(fileURLToPath(new URL('./storm-clients.ts', import.meta.url)), [], {
      ...untrackedFork(),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    child.send({ url, cookies: cookies.slice(index * size, (index + 1) * size) })
    return child
  })
}

/** Resolves to the milliseconds until every client is live and has the newest value. */
async function untilAllHave(newest: number, clients: ChildProcess[], deadline: number): Promise<number> {
  const started = performance.now()
  for (;;) {
    const reports = clients.map(async (child) => {
      child.send({ newest })
      const [report] = (await once(child, 'message')) as [StormReport]
      return report
    })
    const { live, current } = (await Promise.all(reports)).reduce((sum, one) => ({
      live: sum.live + one.live,
      current: sum.current + one.current,
    }))
    const took = performance.now() - started
    if (live === CLIENTS && current === CLIENTS) return took
    if (took > deadline) throw new Error(`after ${deadline} ms ${live} are live and ${current} have it, of ${CLIENTS}`)
    await wait(100)
  }
}

/** Megabytes of memory that the process has resident. */
const residentMegabytes = ({ process: { pid } }: ServerProcess) =>
  Number(execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' })) / 1024

t.test(`${CLIENTS} clients come back after a restart: resumed, in time, in little memory`, async (t) => {
  t.setTimeout(300_000)
  const port = await freePort()
  const environment = { PORT: `${port}`, STORAGE: `lmdb:${await temporaryFolder(t)}`, LOG_LEVEL: 'info' }
  let server = await startServer(t, environment)
  const admin = new HttpClient(server.url)
  await admin.login('admin', ADMIN_PASSWORD)
  const state = Object.fromEntries(Array.from({ length: KEYS }, (_, index) => [`key${index}`, 'x'.repeat(50)]))
  t.equal((await admin.post('/state/restore', { state })).status, 200)
  /** A server that has its hands full with the handshakes answers 503 for a while, and is asked again. */
  const write = async (value: number) => {
    for (const began = performance.now(); performance.now() - began < DEADLINE; await wait(250)) {
      const { status } = await admin.put('/state/keys/storm', { value })
      if (status === 200) return
      if (status !== 503) throw new Error(`the write answered ${status}`)
    }
  }
  await write(0)
  const clients = startClients(t, server.url, await cookiesFor(admin))
  await untilAllHave(0, clients, 2 * DEADLINE)

  for (const [index, signal] of ENDS.entries()) {
    await server.stop(signal)
    server = await startServer(t, environment)
    let peak = 0
    const sampling = setInterval(() => {
      peak = Math.max(peak, residentMegabytes(server))
    }, 250)
    try {
      const came = untilAllHave(index + 1, clients, DEADLINE)
      await write(index + 1)
      const took = await came
      const { sync } = (await admin.get('/stats')).body as { sync: SyncStats }
      t.match(sync, { connections: CLIENTS, resumes: CLIENTS, fullSyncs: 0 }, 'resumes, not full syncs')
      t.ok(peak < MAX_MEGABYTES, `at most ${Math.round(peak)} MB`)
      t.comment(
        `${signal}: all back in ${Math.round(took)} ms, ${sync.refused} told to come later, ${Math.round(peak)} MB`,
      )
    } finally {
      clearInterval(sampling)
    }
  }
})
