/**
 * What each entry of the published package exports, values and types. A name that is added or goes is written into
 * exports.json by hand: once published, it stays.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

const root = new URL('../../', import.meta.url)

t.test('the public names are those that were decided on', async (t) => {
  const { exports } = JSON.parse(await readFile(new URL('package.json', root), 'utf8')) as {
    exports: Record<string, string | { types: string }>
  }
  const entries = Object.entries(exports).flatMap(([name, entry]) =>
    typeof entry === 'string' ? [] : [[name, fileURLToPath(new URL(entry.types, root))] as const],
  )
  t.ok(entries.length > 15)
  const program = ts.createProgram({
    rootNames: entries.map(([, file]) => file),
    options: { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2023, skipLibCheck: true, types: [] },
  })
  const checker = program.getTypeChecker()
  const expected = JSON.parse(await readFile(new URL('./exports.json', import.meta.url), 'utf8'))
  t.same(
    Object.keys(expected),
    entries.map(([name]) => name),
  )
  for (const [name, file] of entries) {
    const source = program.getSourceFile(file)
    const symbol = source && checker.getSymbolAtLocation(source)
    if (!symbol) throw new Error(`${file} is no module: run the build`)
    const names = checker.getExportsOfModule(symbol).map((one) => one.name)
    t.same(names.sort(), expected[name], name)
  }
})
