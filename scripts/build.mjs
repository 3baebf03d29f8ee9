/**
 * Builds dist/: the TypeScript by tsc, beside it what the code reads at run time (Redis scripts, the generated API
 * documents) and declarations without code, and the dashboard. Does nothing when no source differs from the last
 * complete build, so that the second `npm start` starts at once. Types are checked by `npm run typecheck`, not here.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

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
    compile(join(aside, 'dist'))
    for (const file of sources.filter(isReadAsItIs)) cpSync(join(root, file), join(aside, 'dist', file))
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

function compile(outDir) {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const project = join(root, 'scripts', 'tsconfig.build.json')
  const { status } = spawnSync(process.execPath, [tsc, '-p', project, '--outDir', outDir, '--noCheck'], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}

async function buildDashboard(outDir) {
  const script = join(root, 'dashboard', 'build.mjs')
  if (!existsSync(script)) return
  mkdirSync(outDir, { recursive: true })
  const { buildDashboard } = await import(pathToFileURL(script).href)
  await buildDashboard(outDir)
}

/** Redis scripts, documents, and declarations without code: tsc leaves them where they are. */
function isReadAsItIs(file) {
  return /\.(lua|json)$|\.d\.ts$/.test(file) && !file.startsWith('dashboard')
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
