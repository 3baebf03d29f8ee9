/**
 * Removes the guards listed in the other files of this folder, one at a time, and demands that a test notices each.
 * `npm run mutation`, or for some of them `MUTANTS=storage,cache npm run mutation`. It takes minutes and is therefore
 * no part of `npm test`.
 *
 * A listing is `export default [{ file, from, to, suite, guards }] satisfies Mutant[]`, one file per service.
 */
import { readdir } from 'node:fs/promises'
import t from 'tap'
import { killed, type Mutant, mutationWorkspace } from '../checkers/mutation.ts'

const wanted = process.env['MUTANTS']?.split(',')
const listings = (await readdir(new URL('.', import.meta.url)))
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .filter((file) => wanted === undefined || wanted.includes(file.slice(0, -'.ts'.length)))
  .sort()
if (listings.length === 0) throw new Error(`no listing of mutants is called ${wanted}`)

// All of them up front: where something other than a test is awaited between two tests, tap takes the file to be over.
const mutantsOf = await Promise.all(
  listings.map(async (listing) => {
    const { default: mutants }: { default: Mutant[] } = await import(`./${listing}`)
    return { listing, mutants }
  }),
)
const workspace = await mutationWorkspace(t)
for (const { listing, mutants } of mutantsOf) {
  await t.test(listing, async (t) => {
    for (const mutant of mutants) await killed(t, workspace, mutant)
  })
}
