/**
 * Builds dist/: a module for each entry of the package and for the server, with what they share in chunks beside them
 * (a module a source file took a third of a boot); declarations; and the dashboard. The text files that the code reads
 * travel inside the JavaScript, so that an application can be bundled. Does nothing when no source differs from the
 * last complete build, so that the second `npm start` starts at once. Types are checked by `npm run typecheck`, not
 * here.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as esbuild from 'esbuild'
import { build } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const stamp = '.sources'
const target = 'node20.19'

const folders = ['cli', 'client', 'dashboard', 'openapi', 'plugins', 'routes']
const configuration = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'scripts/tsconfig.build.json',
  'scripts/build.mjs',
]

/** Its 130 files take as long to load as all of Fastify. `#typebox` is among the `imports` of package.json. */
const useOneFileOfTypeBox = {
  name: 'TypeBox',
  resolveId: (id) => (id === '@sinclair/typebox' ? { id: '#typebox', external: true } : undefined),
}

/** `new URL('./commit.lua', import.meta.url)`, which `readText` reads, becomes a URL that holds the text itself. */
const inlineTextFiles = {
  name: 'text files',
  transform(source, path) {
    const code = source.replace(/new URL\('([^']+\.(?:lua|json))', import\.meta\.url\)/g, (_, file) => {
      const text = readFileSync(join(dirname(path), file), 'utf8')
      return `new URL(${JSON.stringify(`data:,${encodeURIComponent(text)}`)})`
    })
    return code === source ? undefined : { code, map: null }
  },
}

/** No engine runs decorators yet, and rolldown leaves them as they are. */
const decorators = {
  name: 'decorators',
  async transform(source, path) {
    if (!/^\s*@[\w.]+\(/m.test(source)) return undefined
    const options = { loader: 'ts', target, sourcefile: path, sourcemap: 'external', sourcesContent: false }
    const { code, map } = await esbuild.transform(source, options)
    return { code, map, moduleType: 'js' }
  },
}

const sources = listSources()
const digest = digestOf([...sources, ...configuration])
if (read(join(dist, stamp)) !== digest) await buildAll()

async function buildAll() {
  // Built aside and then moved into place: a build that fails leaves the last good one, and two at once do no harm.
  const aside = join(root, 'node_modules', '.cache', `stateful-build-${process.pid}`)
  rmSync(aside, { recursive: true, force: true })
  try {
    await bundle(join(aside, 'dist'))
    declare(join(aside, 'dist'))
    for (const file of sources.filter(isDeclaration)) cpSync(join(root, file), join(aside, 'dist', file))
    await buildDashboard(join(aside, 'dist', 'dashboard'))
    writeFileSync(join(aside, 'dist', stamp), digest)
    moveIntoPlace(aside)
  } finally {
    rmSync(aside, { recursive: true, force: true })
  }
}

function moveIntoPlace(aside) {
  for (let attempt = 1; ; attempt++) {
    try {
      if (existsSync(dist)) renameSync(dist, join(aside, `previous-${attempt}`))
      renameSync(join(aside, 'dist'), dist)
      return
    } catch (error) {
      // Another build moved between the two steps.
      if (attempt === 10) throw error
    }
  }
}

async function bundle(outDir) {
  const modules = entries()
  // A page of a browser fetches each file over the network, and shares none with a server.
  const client = modules.filter((name) => name.startsWith('client/'))
  const services = modules.filter((name) => !client.includes(name))
  for (const names of [client, services]) {
    const input = Object.fromEntries(names.map((name) => [name, join(root, `${name}.ts`)]))
    await rolldown(outDir, {
      input,
      external: (id) => id !== '@sinclair/typebox' && !/^([./]|data:)/.test(id),
      plugins: [useOneFileOfTypeBox, inlineTextFiles, decorators],
    })
  }
  await rolldown(outDir, { input: { typebox: '@sinclair/typebox' } })
}

async function rolldown(outDir, options) {
  const { output } = await build({
    ...{ cwd: root, platform: 'node', transform: { target }, ...options },
    // Not where the files are written first: source maps tell their sources from where they will lie.
    write: false,
    output: {
      dir: dist,
      entryFileNames: '[name].js',
      chunkFileNames: 'chunks/[hash].js',
      // Sources are in the package.
      ...{ sourcemap: !options.input.typebox, sourcemapExcludeSources: true },
    },
  })
  for (const { fileName, code, source } of output) {
    const file = join(outDir, fileName)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, code ?? source)
  }
}

/** The sources of what `package.json` exports, the server and the commands, without their endings. */
function entries() {
  const { exports } = JSON.parse(read(join(root, 'package.json')))
  const modules = Object.values(exports).flatMap((entry) => entry.default ?? [])
  return [...new Set(modules.map((file) => file.replace(/^\.\/dist\/(.*)\.js$/, '$1'))), 'server', 'cli/main']
}

function declare(outDir) {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const project = join(root, 'scripts', 'tsconfig.build.json')
  const { status } = spawnSync(process.execPath, [tsc, '-p', project, '--outDir', outDir, '--noCheck'], {
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error('The declarations could not be written')
}

async function buildDashboard(outDir) {
  const script = join(root, 'dashboard', 'build.mjs')
  if (!existsSync(script)) return
  mkdirSync(outDir, { recursive: true })
  const { buildDashboard } = await import(pathToFileURL(script).href)
  await buildDashboard(outDir)
}

/** Without code: tsc leaves them where they are. */
function isDeclaration(file) {
  return file.endsWith('.d.ts') && !file.startsWith('dashboard')
}

/** Everything that can influence dist, as paths relative to the root, in a stable order. */
function listSources() {
  const entry = readdirSync(root).filter((name) => name.endsWith('.ts'))
  const nested = folders.flatMap((folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
          .filter((file) => file.isFile())
          .map((file) => join(file.parentPath, file.name).slice(root.length))
      : [],
  )
  return [...entry, ...nested].sort()
}

/** By content, not by time: a checkout of an older commit has newer times. */
function digestOf(files) {
  const hash = createHash('sha256')
  for (const file of files) {
    const content = readFileSync(join(root, file))
    hash.update(`${file}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
