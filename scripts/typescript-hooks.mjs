import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { transform } from 'esbuild'

/**
 * Loads `.ts` as what tsc would emit for it. Names are kept as they are by not minifying; esbuild's `keepNames`
 * would add a call to every closure and slow down what the benchmarks measure.
 */
export async function load(url, context, next) {
  if (!/\.tsx?$/.test(new URL(url).pathname)) return next(url, context)
  const file = fileURLToPath(url)
  const { code } = await transform(await readFile(file), {
    loader: file.endsWith('x') ? 'tsx' : 'ts',
    format: 'esm',
    target: `node${process.versions.node}`,
    sourcefile: file,
    sourcemap: 'inline',
    tsconfigRaw: { compilerOptions: { jsx: 'react-jsx', jsxImportSource: 'preact', verbatimModuleSyntax: true } },
  })
  return { format: 'module', source: code, shortCircuit: true }
}
