/** Builds a small copy of the house, so that sources can be changed. */
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { readText } from '../../plugins/support/text.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)

const sources = {
  'package.json': JSON.stringify({
    ...{ name: 'house', type: 'module', imports: { '#typebox': './dist/typebox.js' } },
    exports: {
      '.': { default: './dist/index.js' },
      './a': { default: './dist/plugins/a/index.js' },
      './client': { default: './dist/client/index.js' },
    },
  }),
  'index.ts': "export { answer, script } from './plugins/a/index.ts'\n",
  'server.ts': "import { answer } from './index.ts'\nprocess.stdout.write(String(answer))\n",
  'plugins/a/index.ts': `import { Type } from '@sinclair/typebox'
export const answer: number = Type.Literal(42).const
export const script = new URL('./stores/set.lua', import.meta.url)\n`,
  'plugins/a/stores/set.lua': "return '1 %'\n",
  'cli/main.ts': "import { answer } from '../index.ts'\nprocess.stdout.write(String(answer))\n",
  'client/index.ts': 'export const client = 1\n',
  'plugins/a/generated.d.ts': 'export type Generated = 1\n',
  'plugins/a/README.md': '# A\n',
  'openapi/openapi.json': '{}\n',
  'dashboard/build.mjs': `import { writeFile } from 'node:fs/promises'
export const buildDashboard = (outdir) => writeFile(outdir + '/index.html', 'the page')\n`,
}

/** The house after a build. */
const built = await emptyHouse(t)
await built.build()

/** A copy of it: all but a build of its own. */
async function house(t: Test): Promise<House> {
  const copy = await emptyHouse(t)
  await cp(join(built.folder, 'dist'), join(copy.folder, 'dist'), { recursive: true })
  return copy
}

interface House {
  folder: string
  build: () => Promise<unknown>
}

async function emptyHouse(t: Test): Promise<House> {
  const folder = await temporaryFolder(t)
  for (const file of ['package-lock.json', 'tsconfig.json', 'scripts']) {
    await cp(join(root, file), join(folder, file), { recursive: true })
  }
  for (const [file, text] of Object.entries(sources)) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
  await mkdir(join(folder, 'node_modules'))
  for (const name of ['typescript', '@types', 'undici-types', 'esbuild', 'rolldown', '@sinclair']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  return { folder, build: () => execute(...untracked(process.execPath, [join(folder, 'scripts', 'build.mjs')])) }
}

t.test('makes a module of each entry, with the text that it reads inside, and builds the dashboard', async (t) => {
  const { folder } = built
  const { answer, script } = await import(join(folder, 'dist', 'index.js'))
  t.equal(answer, 42)
  t.equal(readText(script), "return '1 %'\n")
  const { script: same } = await import(join(folder, 'dist', 'plugins/a/index.js'))
  t.equal(same, script, 'entries share what they have in common')
  t.equal((await execute(...untracked(process.execPath, [join(folder, 'dist/server.js')]))).stdout, '42')
  t.match(await readFile(join(folder, 'dist/plugins/a/index.d.ts'), 'utf8'), /answer: number/)
  t.equal(await readFile(join(folder, 'dist/plugins/a/generated.d.ts'), 'utf8'), 'export type Generated = 1\n')
  const { sources } = JSON.parse(await readFile(join(folder, 'dist/plugins/a/index.js.map'), 'utf8'))
  t.same(sources, ['../../../plugins/a/index.ts'], 'maps name the sources from where dist lies')
  t.equal(await readFile(join(folder, 'dist/dashboard/index.html'), 'utf8'), 'the page')
  await t.rejects(stat(join(folder, 'dist/plugins/a/README.md')))
})

t.test('does nothing when nothing has changed, and everything when something has', async (t) => {
  const { folder, build } = await house(t)
  const before = await stat(join(folder, 'dist'))
  await build()
  t.equal((await stat(join(folder, 'dist'))).ino, before.ino, 'the same folder')

  await writeFile(join(folder, 'plugins/a/stores/set.lua'), 'return 2\n')
  await build()
  t.match(await readFile(join(folder, 'dist/plugins/a/index.js'), 'utf8'), encodeURIComponent('return 2\n'))

  await rm(join(folder, 'plugins/a/generated.d.ts'))
  await build()
  await t.rejects(stat(join(folder, 'dist/plugins/a/generated.d.ts')), 'what has no source is gone')
})

t.test('a build that fails leaves the last good one', async (t) => {
  const { folder, build } = await house(t)
  await writeFile(join(folder, 'index.ts'), 'export const = 43\n')
  await t.rejects(build())
  t.match(await readFile(join(folder, 'dist/index.js'), 'utf8'), /answer/)
  await t.rejects(build(), 'and is tried again')
})

t.test('two builds at once do no harm', async (t) => {
  const { folder, build } = await emptyHouse(t)
  await Promise.all([build(), build()])
  t.match(await readFile(join(folder, 'dist/index.js'), 'utf8'), /answer/)
  await stat(join(folder, 'dist/plugins/a/index.js'))
})
