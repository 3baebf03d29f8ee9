/**
 * The Dockerfiles of `init` and of docs/deployment.md, and its Kubernetes manifest. There is no Docker here: what a
 * container would be is a folder, and the steps that need none are run in it, in their order.
 */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { starter } from '../../cli/init/template.ts'
import { testApp } from '../fixtures/app.ts'
import { command } from '../fixtures/command.ts'
import { eventually } from '../fixtures/eventually.ts'
import { freePort } from '../fixtures/redis-server.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = await readFile(join(root, 'docs/deployment.md'), 'utf8')
const fence = (language: string) => new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'm').exec(page)?.[1] ?? ''

type Step = [instruction: string, rest: string]

/** The instructions in their order, lines that go on joined. */
function stepsOf(dockerfile: string): Step[] {
  return dockerfile
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, instruction = '', rest = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? []
      return [instruction, rest]
    })
}

async function ignoredIn(context: string): Promise<string[]> {
  const lines = (await readFile(join(context, '.dockerignore'), 'utf8')).split('\n')
  return lines.filter((line) => line !== '').map((line) => line.replace(/\/$/, ''))
}

const words = (rest: string): string[] => (rest.startsWith('[') ? JSON.parse(rest) : ['sh', '-c', rest])

/** Builds the image in a folder: its last stage, with the paths in it below that folder. */
async function built(t: Test, dockerfile: string, context: string) {
  const stages: { name: string | undefined; root: string }[] = []
  const environment: Record<string, string> = {}
  const others = new Map<string, string>()
  let directory = ''
  const inside = (path: string) => join(stages.at(-1)?.root ?? '', path.startsWith('/') ? path : join(directory, path))
  for (const [instruction, rest] of stepsOf(dockerfile)) {
    if (instruction === 'FROM') {
      const [image, , name] = rest.split(' ')
      t.match(image, /^node:22(-bookworm)?-slim$/, 'the same image in each stage, glibc and not musl')
      stages.push({ name, root: await temporaryFolder(t) })
      directory = '/'
      // Of one stage.
      for (const key of Object.keys(environment)) delete environment[key]
    } else if (instruction === 'WORKDIR') {
      directory = rest
      await mkdir(inside(rest), { recursive: true })
    } else if (instruction === 'ENV') {
      for (const pair of rest.split(' ')) environment[pair.split('=')[0] as string] = pair.split('=')[1] as string
    } else if (instruction === 'COPY') {
      const [to = '', ...from] = rest
        .split(' ')
        .filter((word) => !word.startsWith('--'))
        .reverse()
      const source = /--from=(\S+)/.exec(rest)?.[1]
      const base = source === undefined ? context : stages.find(({ name }) => name === source)?.root
      t.ok(base, `the stage '${source}' is above`)
      for (const name of from) {
        const target = from.length > 1 || to.endsWith('/') ? join(inside(to), name) : inside(to)
        const ignored = source === undefined ? await ignoredIn(context) : []
        await cp(join(base ?? '', name), target, {
          recursive: true,
          verbatimSymlinks: true,
          filter: (path) => !ignored.includes(relative(context, path)),
        })
      }
    } else if (instruction === 'RUN' && rest === 'npm ci --omit=dev') {
      t.ok((await readdir(inside('.'))).includes('package-lock.json'), 'npm ci has its lock file')
      // What it would put there, as test/packaging/newcomer.test.ts does for real.
      await mkdir(inside('node_modules'))
      for (const name of await readdir(join(root, 'node_modules'))) {
        await symlink(join(root, 'node_modules', name), join(inside('node_modules'), name))
      }
      await symlink(root, join(inside('node_modules'), 'fastify-stateful'))
    } else if (instruction === 'RUN') {
      // There is no user of that name outside of the image; paths are those of the folder.
      const [make, own, ...more] = rest.split(' && ')
      t.match([make, own, more], [/^mkdir \S+$/, /^chown node:node \S+$/, []])
      await mkdir(inside(make?.split(' ')[1] ?? ''))
    } else {
      others.set(instruction, rest)
    }
  }
  return { root: stages.at(-1)?.root ?? '', directory: inside('.'), environment, others }
}

for (const [name, dockerfile] of [
  ['init', starter('app').files.get('Dockerfile') ?? ''],
  ['docs/deployment.md', fence('dockerfile')],
] as const) {
  t.test(`the Dockerfile of ${name}: it starts, is healthy, and ends with 0 on SIGTERM`, async (t) => {
    const folder = await temporaryFolder(t)
    await command(['init', 'app'], { cwd: folder })
    const context = join(folder, 'app')
    // `npm install` has made it by the time of a build.
    await cp(join(root, 'package-lock.json'), join(context, 'package-lock.json'))
    const port = `${await freePort()}`
    const image = await built(t, dockerfile.replaceAll('3000', port), context)
    t.match(image.environment, { NODE_ENV: 'production', HOST: '0.0.0.0', PORT: port, STORAGE: /^lmdb:\// })
    t.equal(image.others.get('USER'), 'node')
    t.notOk((await readdir(image.directory)).includes('.env'), 'no secret is in the image')
    const { VOLUME: volume = '', HEALTHCHECK: health = '', CMD: cmd = '' } = Object.fromEntries(image.others)
    t.equal(image.environment['STORAGE'], `lmdb:${volume}`, 'what it writes is in the volume')

    const env = {
      PATH: process.env['PATH'],
      ...image.environment,
      STORAGE: `lmdb:${join(image.root, volume)}`,
      SESSION_SECRET: randomBytes(32).toString('base64url'),
    }
    const [file = '', ...args] = words(cmd)
    const child = spawn(...untracked(file, args), { cwd: image.directory, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const exited = once(child, 'exit')
    t.teardown(async () => {
      child.kill('SIGKILL')
      await exited
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    const [program = '', ...check] = words(health.replace(/^.*?CMD +/, ''))
    const healthy = () =>
      promisify(execFile)(...untracked(program, check), { cwd: image.directory, env }).then(
        () => true,
        () => false,
      )
    await eventually(async () => child.exitCode !== null || (await healthy()), 30_000)
    t.equal(child.exitCode, null, output)
    t.equal((await fetch(`http://127.0.0.1:${port}/profile`)).status, 401)
    child.kill('SIGTERM')
    t.same(await exited, [0, null], output)
    t.notOk(await healthy(), 'and the check tells when it is gone')
  })
}

t.test('the Kubernetes manifest: one Deployment whose probes the server answers', async (t) => {
  const { apiVersion, kind, metadata, spec } = parse(fence('yaml'))
  t.match({ apiVersion, kind, metadata }, { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: String } })
  const { spec: pod, metadata: labelled } = spec.template
  t.same(labelled.labels, spec.selector.matchLabels, 'it selects its own pods')
  t.equal(pod.containers.length, 1)
  const [container] = pod.containers
  const values = new Map<string, string | undefined>()
  for (const { name, value, valueFrom } of container.env) {
    t.ok(typeof value === 'string' || valueFrom?.secretKeyRef?.key, `${name} has a text, or a key of a Secret`)
    values.set(name, value)
  }
  for (const secret of ['STORAGE', 'SESSION_SECRET']) t.ok(values.has(secret) && !values.get(secret), secret)
  const app = await testApp(t)
  const [{ containerPort }] = container.ports
  for (const name of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
    const { httpGet, periodSeconds } = container[name]
    t.equal(httpGet.port, containerPort, name)
    t.ok(periodSeconds > 0)
    t.equal((await app.inject(httpGet.path)).statusCode, 200, `${name}: ${httpGet.path}`)
  }
  const [sleep, seconds] = container.lifecycle.preStop.exec.command
  t.equal(sleep, 'sleep')
  t.ok(pod.terminationGracePeriodSeconds > Number(seconds) + 10, 'there is time for a whole close')
})
