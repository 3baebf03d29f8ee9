/**
 * `node --import ./scripts/typescript.mjs <file>.ts` runs TypeScript from source: for `npm run dev`, the scripts and
 * the benchmarks. Node 20 cannot strip types. Nothing is checked here (that is `npm run typecheck`), and tests do not
 * use it: coverage through a transpiling loader would be untrue.
 */
import { register } from 'node:module'

process.setSourceMapsEnabled(true)
register('./typescript-hooks.mjs', import.meta.url)
