import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const cache = new URL('../node_modules/.cache/stateful-typescript/', import.meta.url)

/** What V8 cannot run once the types are gone. */
const DECORATOR = /^\s*@[\w.]+\(/m

/**
 * Loads `.ts` with its types turned into spaces: each position stays, so that coverage and stack traces need no source
 * map. What was stripped once is kept by its content; the stripper takes longer to load than a test of one class.
 */
export async function load(url, context, next) {
  if (!/\.tsx?$/.test(new URL(url).pathname)) return next(url, context)
  const file = fileURLToPath(url)
  const text = await readFile(file, 'utf8')
  const compile = file.endsWith('x') || DECORATOR.test(text) ? transform : strip
  const kept = new URL(
    `${createHash('sha1').update(process.version).update(file).update(text).digest('hex')}.js`,
    cache,
  )
  const source = await readFile(kept, 'utf8').catch(() => keep(kept, compile, text, file))
  return { format: 'module', source, shortCircuit: true }
}

async function keep(kept, compile, text, file) {
  const code = await compile(text, file)
  await mkdir(cache, { recursive: true })
  // Another process may read it meanwhile.
  const unfinished = new URL(`${kept.href}.${process.pid}`)
  await writeFile(unfinished, code)
  await rename(unfinished, kept)
  return code
}

async function strip(text) {
  const { default: blankTypes } = await import('ts-blank-space')
  return blankTypes(text)
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
