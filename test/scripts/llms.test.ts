import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { llmsText } from '../../scripts/llms.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

t.test('llms.txt is current: `npm run docs` writes it', async (t) => {
  const text = await llmsText()
  t.equal(await readFile(join(root, 'llms.txt'), 'utf8'), text)
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link)
  t.ok(links.length > 20)
  for (const link of links) t.ok(existsSync(join(root, link)), link)
})
