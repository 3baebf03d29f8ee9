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
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as esbuild from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const stamp = '.sources'

const folders = ['client', 'dashboard', 'openapi', 'plugins', 'routes']
const configuration = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'scripts/tsconfig.build.json',
  'scripts/build.mjs',
]

const sources = listSources()
const digest = digestOf([...sources, ...configuration])
if (read(join(dist, stamp)) !== digest) await build()

async function build() {
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
  const common = { absWorkingDir: root, bundle: true, format: 'esm', platform: 'node', target: 'node20.19' }
  const { outputFiles } = await esbuild.build({
    ...common,
    entryPoints: entries(),
    // Not where the files are written first: source maps tell their sources from where they will lie.
    ...{ outdir: dist, outbase: root, write: false, splitting: true, chunkNames: 'chunks/[hash]' },
    // Sources are in the package.
    ...{ sourcemap: true, sourcesContent: false },
    packages: 'external',
    plugins: [
      { name: 'text files', setup: inlineTextFiles },
      { name: 'TypeBox', setup: useOneFileOfTypeBox },
    ],
    logLevel: 'error',
  })
  for (const { path, contents } of outputFiles) {
    const file = join(outDir, relative(dist, path))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, contents)
  }
  await esbuild.build({ ...common, entryPoints: ['@sinclair/typebox'], outfile: join(outDir, 'typebox.js') })
}

/** The sources of what `package.json` exports, and the server. */
function entries() {
  const { exports } = JSON.parse(read(join(root, 'package.json')))
  const modules = Object.values(exports).flatMap((entry) => entry.default ?? [])
  return [...modules.map((file) => file.replace(/^\.\/dist\/(.*)\.js$/, '$1.ts')), 'server.ts']
}

/** Its 130 files take as long to load as all of Fastify. `#typebox` is among the `imports` of package.json. */
function useOneFileOfTypeBox({ onResolve }) {
  onResolve({ filter: /^@sinclair\/typebox$/ }, ({ kind }) =>
    kind === 'entry-point' ? undefined : { path: '#typebox', external: true },
  )
}

/** `new URL('./commit.lua', import.meta.url)`, which `readText` reads, becomes a URL that holds the text itself. */
function inlineTextFiles({ onLoad }) {
  onLoad({ filter: /\.ts$/ }, ({ path }) => {
    const source = readFileSync(path, 'utf8')
    const contents = source.replace(/new URL\('([^']+\.(?:lua|json))', import\.meta\.url\)/g, (_, file) => {
      const text = readFileSync(join(dirname(path), file), 'utf8')
      return `new URL(${JSON.stringify(`data:,${encodeURIComponent(text)}`)})`
    })
    return { contents, loader: 'ts' }
  })
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
