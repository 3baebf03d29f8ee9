import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Case, Contender, Context, Suite } from '../harness.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)

/** Clock ticks a second, in which Linux tells the time of a process. */
const TICKS = 100

/** What npm installs for each, in a project of its own. `ours` is the packed package. */
const projects = {
  fastify: ['fastify'],
  bentocache: ['fastify', 'bentocache'],
  '@fastify/session': ['fastify', '@fastify/session', '@fastify/cookie'],
  ours: ['fastify'],
}
type Project = keyof typeof projects

let folders: Promise<Record<Project, string>> | undefined

/** Installs each project once for all cases. */
function installed(): Promise<Record<Project, string>> {
  folders ??= install()
  return folders
}

async function install(): Promise<Record<Project, string>> {
  const parent = await mkdtemp(join(tmpdir(), 'stateful-footprint-'))
  process.once('exit', () => rmSync(parent, { recursive: true, force: true }))
  const { stdout } = await execute('npm', ['pack', '--json', '--pack-destination', parent], { cwd: root })
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string }]
  const entries: [Project, string][] = []
  for (const [name, packages] of Object.entries(projects) as [Project, string[]][]) {
    const folder = await mkdtemp(join(parent, 'project-'))
    await writeFile(join(folder, 'package.json'), '{"private":true,"type":"module"}')
    const all = name === 'ours' ? [...packages, join(parent, filename)] : packages
    await execute('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...all], { cwd: folder })
    entries.push([name, folder])
  }
  return Object.fromEntries(entries) as Record<Project, string>
}

interface Cost {
  /** Milliseconds of CPU time, user and system. */
  cpu: number
  /** MiB that are resident at the end. */
  rss: number
}

/** What a fresh process has spent when it has imported these modules one after the other. */
async function costOfImport(folder: string, modules: string[]): Promise<Cost> {
  const code = `
    const before = process.cpuUsage()
    ${modules.map((name) => `await import(${JSON.stringify(name)})`).join('\n')}
    const { user, system } = process.cpuUsage(before)
    process.stdout.write(JSON.stringify({ cpu: (user + system) / 1000, rss: process.memoryUsage.rss() / 2 ** 20 }))`
  const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', code], { cwd: folder })
  return JSON.parse(stdout) as Cost
}

/** The reference server on an LMDB folder, from spawn to its first answer. */
async function costOfBoot(context: Context): Promise<Cost> {
  const folder = await mkdtemp(join(tmpdir(), 'stateful-boot-'))
  const env = { ...process.env, NODE_ENV: 'development', PORT: '0', STORAGE: `lmdb:${folder}`, LOG_LEVEL: 'info' }
  const server = spawn(process.execPath, ['dist/server.js'], { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] })
  context.teardown(() => server.kill('SIGKILL'))
  let output = ''
  for await (const chunk of server.stdout) {
    output += chunk
    if (/listening/i.test(output)) break
  }
  const [times, status] = await Promise.all(
    ['stat', 'status'].map((file) => readFile(`/proc/${server.pid}/${file}`, 'utf8')),
  )
  const fields = times?.slice(times.lastIndexOf(')') + 2).split(' ') ?? []
  const exited = once(server, 'exit')
  server.kill('SIGKILL')
  await exited
  await rm(folder, { recursive: true, force: true })
  return {
    cpu: ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS,
    rss: Number(/VmRSS:\s+(\d+)/.exec(status ?? '')?.[1]) / 1024,
  }
}

function importOf(name: string, role: Contender['role'], project: Project, modules: string[], unit: keyof Cost) {
  return {
    name,
    role,
    async setup() {
      const folder = (await installed())[project]
      return async () => ({ value: (await costOfImport(folder, modules))[unit] })
    },
  } satisfies Contender
}

const fastify = (unit: keyof Cost) => importOf('fastify', 'limit', 'fastify', ['fastify'], unit)

function importCases(unit: keyof Cost): Case[] {
  const [word, measure] = unit === 'cpu' ? ['CPU time', 'ms'] : ['memory', 'MiB']
  const common = { unit: measure as string, better: 'lower' } as const
  return [
    {
      name: `import of the cache: ${word}`,
      ...common,
      contenders: [
        fastify(unit),
        importOf('fastify-stateful', 'ours', 'ours', ['fastify-stateful/cache'], unit),
        importOf('bentocache', 'peer', 'bentocache', ['bentocache', 'bentocache/drivers/memory'], unit),
      ],
    },
    {
      name: `import of sessions: ${word}`,
      ...common,
      contenders: [
        fastify(unit),
        importOf('fastify-stateful', 'ours', 'ours', ['fastify-stateful/session'], unit),
        importOf('@fastify/session', 'peer', '@fastify/session', ['@fastify/cookie', '@fastify/session'], unit),
      ],
    },
    {
      name: `import of everything: ${word}`,
      ...common,
      contenders: [fastify(unit), importOf('fastify-stateful', 'ours', 'ours', ['fastify-stateful'], unit)],
    },
  ]
}

/** Linux tells these of another process. */
const bootCases = (existsSync('/proc/self/stat') ? (['cpu', 'rss'] as const) : []).map(
  (unit): Case => ({
    name: `boot of the reference server on LMDB: ${unit === 'cpu' ? 'CPU time' : 'memory'}`,
    unit: unit === 'cpu' ? 'ms' : 'MiB',
    better: 'lower',
    contenders: [
      {
        name: 'fastify-stateful',
        role: 'ours',
        setup: (context) => async () => ({ value: (await costOfBoot(context))[unit] }),
      },
    ],
  }),
)

async function sizeOf(folder: string): Promise<{ packages: number; bytes: number }> {
  const files = await readdir(join(folder, 'node_modules'), { recursive: true, withFileTypes: true })
  const sizes = await Promise.all(
    files.filter((file) => file.isFile()).map((file) => stat(join(file.parentPath, file.name))),
  )
  const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8')) as { packages: object }
  const paths = Object.keys(lock.packages).filter((path) => path && existsSync(join(folder, path)))
  return { packages: paths.length, bytes: sizes.reduce((sum, { size }) => sum + size, 0) }
}

function sizeCase(name: string, unit: string, pick: (size: { packages: number; bytes: number }) => number): Case {
  const contender = (title: string, role: Contender['role'], project: Project): Contender => ({
    name: title,
    role,
    async setup() {
      const size = await sizeOf((await installed())[project])
      return () => ({ value: pick(size) })
    },
  })
  return {
    ...{ name, unit, better: 'lower', rounds: 1 },
    contenders: [
      contender('fastify', 'limit', 'fastify'),
      contender('fastify-stateful', 'ours', 'ours'),
      contender('bentocache', 'peer', 'bentocache'),
      contender('@fastify/session', 'peer', '@fastify/session'),
    ],
  }
}

const suite: Suite = {
  name: 'footprint',
  description:
    'What a package costs before it does anything: CPU time and memory of an import in a fresh process and of a boot, ' +
    'packages and bytes that npm installs. Each beside Fastify, which all of them need or are used with.',
  cases: [
    ...importCases('cpu'),
    ...importCases('rss'),
    ...bootCases,
    sizeCase('installed packages', 'packages', ({ packages }) => packages),
    sizeCase('installed bytes', 'MiB', ({ bytes }) => bytes / 2 ** 20),
  ],
}

export default suite
