import { readFile } from 'node:fs/promises'
import t from 'tap'
import { optionsText, page } from '../../scripts/options.ts'

t.setTimeout(120_000)

/** Without what aligns the columns of tables. */
const words = (text: string) => text.replaceAll(/[\s-]+/g, ' ').split(' | ')

t.test('docs/options.md is current: `npm run docs` writes it', async (t) => {
  const made = optionsText()
  t.same(words(await readFile(page, 'utf8')), words(made))
  t.match(made, /`l1\.maxEntries` \| `number` \| Default 10 000\./)
})
