/**
 * `node --import ./scripts/typescript.mjs scripts/http-cache-table.ts` runs http-cache-tests against the response cache
 * and writes the table of docs/response-cache.md, beside the results of other caches that come with the package.
 */
import { comparison, document, runCacheTests } from '../test/ecosystem/http-cache-suite.ts'
import { Cleanup } from '../test/fixtures/cleanup.ts'

const cleanup = new Cleanup()
try {
  const table = await comparison(await runCacheTests(cleanup))
  await document(table)
  process.stdout.write(`${table}\n`)
} finally {
  await cleanup.run()
}
