import { createHash, randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const cache = new URL('../node_modules/.cache/stateful-typescript/', import.meta.url)

/** What V8 cannot run once the types are gone. */
const DECORATOR = /^\s*@[\w.]+\(/m

/**
 * Loads `.ts` with its types turned into spaces: each position stays, so that coverage and stack traces need no source
 * map. What was stripped once is kept by its content; the stripper takes longer to load than a test of one class. Read
 * without promises, as this thread has nothing else to do.
 */
export async function load(url, context, next) {
  if (!/\.tsx?$/.test(new URL(url).pathname)) return next(url, context)
  const file = fileURLToPath(url)
  const text = readFileSync(file, 'utf8')
  const compile = file.endsWith('x') || DECORATOR.test(text) ? transform : strip
  // A copy elsewhere is the same: only the map of what is transformed knows the file, by its name alone.
  const kept = keptAs(process.version, basename(file), text)
  const source = existsSync(kept) ? readFileSync(kept, 'utf8') : await keep(kept, () => compile(text, file))
  return { format: 'module', source, shortCircuit: true }
}

/**
 * Of ours, the file that is named; unless a test has replaced it, which tap tells by a query. And TypeBox as one file, as
 * it is in dist: to load its 200 took a quarter of the start of most tests.
 */
export async function resolve(specifier, context, next) {
  if (/^\.\.?\/.*\.tsx?$/.test(specifier) && !context.parentURL.includes('?')) {
    return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true }
  }
  if (specifier !== '@sinclair/typebox') return next(specifier, context)
  const kept = keptAs(specifier, readFileSync(new URL(`../node_modules/${specifier}/package.json`, import.meta.url)))
  if (!existsSync(kept)) await keep(kept, () => bundle(specifier))
  return { url: kept.href, format: 'module', shortCircuit: true }
}

function keptAs(...parts) {
  const hash = createHash('sha1')
  for (const part of parts) hash.update(part).update('\0')
  return new URL(`${hash.digest('hex')}.js`, cache)
}

async function keep(kept, make) {
  const code = await make()
  await mkdir(cache, { recursive: true })
  // Others may read or make it meanwhile.
  const unfinished = new URL(`${kept.href}.${randomUUID()}`)
  await writeFile(unfinished, code)
  await rename(unfinished, kept)
  return code
}

async function strip(text) {
  const { default: blankTypes } = await import('ts-blank-space')
  return blankTypes(text)
}

async function bundle(entry) {
  const { build } = await import('esbuild')
  const { outputFiles } = await build({
    ...{ absWorkingDir: fileURLToPath(new URL('..', import.meta.url)), entryPoints: [entry], write: false },
    ...{ bundle: true, format: 'esm', platform: 'node', target: `node${process.versions.node}` },
  })
  return outputFiles[0].text
}

/** Names are kept as they are by not minifying; `keepNames` would add a call to every closure. */
async function transform(text, file) {
  const { transform } = await import('esbuild')
  const { code } = await transform(text, {
    loader: file.endsWith('x') ? 'tsx' : 'ts',
    format: 'esm',
    target: `node${process.versions.node}`,
    sourcefile: basename(file),
    sourcemap: 'inline',
    tsconfigRaw: { compilerOptions: { jsx: 'react-jsx', jsxImportSource: 'preact', verbatimModuleSyntax: true } },
  })
  return code
}
