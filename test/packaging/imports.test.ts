import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Imports {
  /** Every module that is named, be it for a type or when it is needed. */
  all: string[]
  /** Those without which it cannot begin. */
  first: string[]
}

/** Files of the project by their path from its root, and which of them they name. */
const graph = new Map<string, Imports>()
for (const folder of ['plugins', 'routes', 'client', 'cli', 'openapi', 'scripts']) {
  for (const name of await readdir(join(ROOT, folder), { recursive: true })) {
    if (!/\.m?ts$/.test(name) || name.endsWith('.d.ts')) continue
    const path = join(folder, name)
    graph.set(path, importsOf(path, await readFile(join(ROOT, path), 'utf8')))
  }
}

function importsOf(path: string, text: string): Imports {
  const local = (specifiers: string[]) =>
    specifiers
      .filter((specifier) => specifier.startsWith('.'))
      .map((specifier) => resolve('/', dirname(path), specifier).slice(1))
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest)
  const first = source.statements.flatMap((statement) => {
    if (ts.isImportDeclaration(statement) && statement.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword)
      return [statement.moduleSpecifier]
    return ts.isExportDeclaration(statement) && !statement.isTypeOnly ? [statement.moduleSpecifier] : []
  })
  return {
    all: local(ts.preProcessFile(text).importedFiles.map(({ fileName }) => fileName)),
    first: local(first.flatMap((specifier) => (specifier && ts.isStringLiteral(specifier) ? [specifier.text] : []))),
  }
}

/** Which modules `from` needs, directly or not, each with the one that names it. */
function reached(from: string, imports: keyof Imports): Map<string, string> {
  const found = new Map<string, string>()
  const waiting = [from]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const next of graph.get(path)?.[imports] ?? []) {
      if (found.has(next)) continue
      found.set(next, path)
      waiting.push(next)
    }
  }
  return found
}

/** The last one says what a number in a schema is, of no service. */
const KNOWN = /^(plugins\/(storage|support)\/|openapi\/schemas\/numbers\.ts$)/

t.test('the storage knows no service, and neither does what looks after its file', async (t) => {
  const storage = [...graph.keys()].filter((path) => path.startsWith('plugins/storage/'))
  t.ok(storage.length > 20)
  for (const path of [...storage, 'cli/lmdb-folder.ts']) {
    t.ok(graph.has(path), path)
    const strangers = [...reached(path, 'all')].filter(([found]) => !KNOWN.test(found))
    t.strictSame(strangers, [], path)
  }
})

t.test('what is shared knows nobody who shares it', async (t) => {
  for (const [path, { all }] of graph) {
    if (!path.startsWith('plugins/support/')) continue
    t.strictSame(
      all.filter((found) => !found.startsWith('plugins/support/') && !found.startsWith('openapi/')),
      [],
      path,
    )
  }
})

t.test('no module needs itself to begin', async (t) => {
  t.strictSame(
    [...graph.keys()].filter((path) => reached(path, 'first').has(path)),
    [],
  )
})
