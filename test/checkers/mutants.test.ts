import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import type { Mutant } from './mutation.ts'

const folder = new URL('../mutants/', import.meta.url)

/** They run for minutes, and seldom: a guard that was rewritten must not leave one behind that removes nothing. */
t.test('each mutant finds its guard, once', async (t) => {
  const listings = (await readdir(folder)).filter((file) => file !== 'run.ts')
  for (const listing of listings) {
    const { default: mutants }: { default: Mutant[] } = await import(new URL(listing, folder).href)
    for (const { file, from, suite, guards } of mutants) {
      const source = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8')
      t.equal(source.split(from).length - 1, 1, `${listing}: ${guards}`)
      t.ok(await readFile(new URL(`../../${suite}`, import.meta.url), 'utf8'), suite)
    }
  }
})
