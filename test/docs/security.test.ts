import { readFile } from 'node:fs/promises'
import t from 'tap'

const page = new URL('../../docs/security.md', import.meta.url)
const document = await readFile(page, 'utf8')

t.test('each guard names a test that there is', async (t) => {
  const named = [...document.matchAll(/\]\((\.\.\/test\/[^)]+)\) "([^"]+)"/g)]
  t.ok(named.length > 60)
  for (const [, file = '', title = ''] of named) {
    const source = await readFile(new URL(file, page), 'utf8')
    // A title may be written with either quotation mark, or made from a template.
    t.ok(source.includes(title) || source.includes(title.replaceAll("'", '’')), `${file}: ${title}`)
  }
})

t.test('each line of the tables has a guard and a test', async (t) => {
  const rows = document.split('\n').filter((line) => line.startsWith('| ') && !/^\| (-|#|Threat)/.test(line))
  t.ok(rows.length > 40)
  for (const row of rows) t.match(row, /\]\(\.\.\/test\//, row.slice(0, 80))
})
