import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))

t.test('the core of the client is at most 8 kB for a browser, and takes nothing of Node with it', async (t) => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: "export { createClient } from './client/index.ts'", resolveDir: root, sourcefile: 'index.ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    write: false,
    // What is imported later (the REST client, the database) is no part of it.
    splitting: true,
    outdir: 'out',
    metafile: true,
    logLevel: 'silent',
  })
  const first = ['out/stdin.js']
  for (const name of first) {
    for (const { path, kind } of metafile.outputs[name]?.imports ?? []) {
      if (kind === 'import-statement' && !first.includes(path)) first.push(path)
    }
  }
  const core = outputFiles.filter(({ path }) => first.some((name) => path.endsWith(name)))
  t.equal(core.length, first.length)
  const bytes = core.reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0)
  t.ok(bytes <= 8_192, `${bytes} bytes`)
  const foreign = Object.keys(metafile.inputs).filter(
    (path) =>
      !/^index\.ts$|^client\/|^plugins\/state\/values\/(reducer|frozen-copy|operation)\.ts$|^plugins\/support\/(keys|listeners|numbers|promise-like)\.ts$|node_modules\/openapi-fetch\//.test(
        path,
      ),
  )
  t.strictSame(foreign, [])
})
