import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Test } from 'tap'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))
/** What the engine is made of; scripts lie beside the stores. */
const FOLDERS = ['plugins/cache', 'plugins/storage', 'plugins/support', 'openapi/schemas']

/** One guard taken out: `from` stands exactly once in the file. */
export interface Mutation {
  file: string
  from: string
  to: string
}

/** A copy of the engine with the mutations, compiled into a folder that is gone after the test; resolves to its URL. */
export async function mutant(t: Test, name: string, mutations: Mutation[]): Promise<string> {
  // Below the root, so that packages are found; `.tap` is the test runner's own, unversioned folder.
  const target = join(ROOT, '.tap', `mutant-${process.pid}-${name}`)
  t.teardown(() => rm(target, { recursive: true, force: true }))
  const open = new Set(mutations)
  for (const folder of FOLDERS) {
    for (const file of await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue
      const from = join(file.parentPath, file.name)
      const relative = from.slice(ROOT.length)
      const to = join(target, relative)
      await mkdir(dirname(to), { recursive: true })
      if (!file.name.endsWith('.ts')) {
        await cp(from, to)
        continue
      }
      let source = await readFile(from, 'utf8')
      for (const mutation of mutations) {
        if (mutation.file !== relative) continue
        if (source.split(mutation.from).length !== 2) throw new Error(`${relative} has not one '${mutation.from}'`)
        source = source.replace(mutation.from, () => mutation.to)
        open.delete(mutation)
      }
      await writeFile(to.replace(/\.ts$/, '.js'), compile(source))
    }
  }
  if (open.size > 0) throw new Error(`no file ${[...open][0]?.file}`)
  await writeFile(join(target, 'package.json'), '{"type":"module"}')
  return pathToFileURL(target).href
}

/** All but a file or two are the same in each copy. */
const compiled = new Map<string, string>()

function compile(source: string): string {
  const known = compiled.get(source)
  if (known !== undefined) return known
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    },
  })
  compiled.set(source, outputText)
  return outputText
}
