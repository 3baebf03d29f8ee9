import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'

t.test('the whole client is under 8 kB for a browser, and takes nothing of Node with it', async (t) => {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileURLToPath(new URL('../../client/index.ts', import.meta.url))],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    write: false,
    metafile: true,
    logLevel: 'silent',
  })
  const bytes = gzipSync(outputFiles[0]?.contents ?? new Uint8Array(), { level: 9 }).length
  t.ok(bytes < 8_000, `${bytes} bytes`)
  const foreign = Object.keys(metafile.inputs).filter(
    (path) =>
      !/^client\/|^plugins\/state\/reducer\.ts$|^plugins\/support\/(listeners|option-names|promise-like|stateful-error|timer)\.ts$|node_modules\/openapi-fetch\//.test(
        path,
      ),
  )
  t.strictSame(foreign, [])
})
