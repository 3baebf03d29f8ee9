/**
 * `node --import ./scripts/typescript.mjs <file>.ts` runs TypeScript from source: for the tests, `npm run dev`, the
 * scripts and the benchmarks. Node 20 cannot strip types. Nothing is checked here: that is `npm run typecheck`.
 */
import { register } from 'node:module'

process.setSourceMapsEnabled(true)
register('./typescript-hooks.mjs', import.meta.url)

// Children that are run as this process is may be run in another folder.
process.execArgv = process.execArgv.map((argument) =>
  argument.replace(/^(--import=)?\.\/scripts\/typescript\.mjs$/, `$1${import.meta.url}`),
)
