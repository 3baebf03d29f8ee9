/**
 * The code of README.md and docs/, as modules that compile and run.
 *
 * A fenced block of `ts`, `tsx`, `js` or `jsx` is a module. A name that it uses without declaring or importing it comes
 * from `given.ts`, or else from `fastify-stateful`. Comments of HTML before a block say more of it:
 *
 *     <!-- snippet: not compiled: bentocache is not installed here -->   neither compiled nor run, and why
 *     <!-- snippet: not run: it would listen for ever -->                compiled only, and why
 *     <!-- snippet: before const others = setInterval(…) -->             runs before it
 *     <!-- snippet: then assert.equal(app.state.get('theme'), 'dark') --> runs after it; `assert` is Node's, strict
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const given = join(root, 'test/docs/given.ts')

export interface Snippet {
  /** `docs/cache.md:8`: the line of the block's first line. */
  place: string
  /** As on the page. */
  text: string
  language: 'ts' | 'tsx'
  compiled: boolean
  run: boolean
  /** Code that runs before it. */
  before: string[]
  /** Code that runs after it. */
  after: string[]
}

/** Every page that is published: the README and all of docs/. */
export async function pages(): Promise<string[]> {
  const docs = await readdir(join(root, 'docs'), { recursive: true })
  return ['README.md', ...docs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)].sort()
}

const BLOCK = /((?:<!-- snippet: .*?-->\s*)*)^( *)```(ts|tsx|js|jsx)\n(.*?)^\2```/gms
const COMMENT = /<!-- snippet: (not compiled|not run|before|then):?\s+(.*?)\s*-->/gs

export async function snippetsOf(page: string): Promise<Snippet[]> {
  const document = await readFile(join(root, page), 'utf8')
  return [...document.matchAll(BLOCK)].map((match) => {
    const [whole, comments = '', indent = '', fence = '', text = ''] = match
    const said = [...comments.matchAll(COMMENT)]
    if (said.length !== comments.split('<!-- snippet').length - 1) throw new Error(`${page}: unknown: ${comments}`)
    const says = (what: string) => said.filter(([, kind]) => kind === what).map(([, , rest = '']) => rest)
    const start = match.index + whole.indexOf(text, comments.length + fence.length + 3)
    return {
      place: `${page}:${document.slice(0, start).split('\n').length}`,
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      language: fence.endsWith('x') ? 'tsx' : 'ts',
      compiled: says('not compiled').length === 0,
      run: says('not compiled').length + says('not run').length === 0,
      before: says('before'),
      after: says('then'),
    }
  })
}

export interface CompiledSnippet extends Snippet {
  /** What the compiler has to say, each with its place on the page. */
  errors: string[]
  /** The module, without types. */
  code: string
}

const { options } = ts.parseJsonConfigFileContent(
  ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config,
  ts.sys,
  root,
)
const settings: ts.CompilerOptions = {
  ...options,
  ...{ noEmit: true, verbatimModuleSyntax: false },
  ...{ allowImportingTsExtensions: true, rewriteRelativeImportExtensions: false },
  // React brings no types; of what the snippets use, Preact has the same.
  paths: { react: [join(root, 'node_modules/preact/compat/src/index.d.ts')] },
}

/**
 * Compiles them strictly, as one program, against the sources. Blocks that declare something for all modules
 * (`declare module`) see each other no more than two applications do.
 */
export function compile(snippets: Snippet[]): CompiledSnippet[] {
  const files = new Map<string, string>()
  const host = ts.createCompilerHost(settings)
  const { fileExists, readFile, getSourceFile } = host
  const parsed = new Map<string, ts.SourceFile | undefined>()
  host.fileExists = (name) => files.has(name) || fileExists(name)
  host.readFile = (name) => files.get(name) ?? readFile(name)
  host.getSourceFile = (name, version) => {
    if (!parsed.has(name)) {
      const text = files.get(name)
      const file = text === undefined ? getSourceFile(name, version) : ts.createSourceFile(name, text, version)
      parsed.set(name, file)
    }
    return parsed.get(name)
  }

  const offered = exportsOf(host)
  const named = snippets.map((snippet, n) => {
    const name = join(root, `test/docs/snippet-${n}.${snippet.language}`)
    files.set(name, withImports(snippet, offered))
    return name
  })
  const alone = named.filter((name) => /^declare module/m.test(files.get(name) ?? ''))
  const programs = new Map<string, ts.Program>()
  const shared = named.filter((name) => !alone.includes(name))
  const program = ts.createProgram({ rootNames: shared, options: settings, host })
  for (const name of shared) programs.set(name, program)
  for (const name of alone) {
    programs.set(name, ts.createProgram({ rootNames: [name], options: settings, host, oldProgram: program }))
  }

  return snippets.map((snippet, n) => {
    const name = named[n] as string
    const program = programs.get(name) as ts.Program
    const file = program.getSourceFile(name)
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
    return {
      ...snippet,
      errors: found.map((diagnostic) => described(snippet, file, diagnostic)),
      code: ts.transpileModule(files.get(name) ?? '', {
        fileName: name,
        compilerOptions: { ...settings, module: ts.ModuleKind.ESNext, noEmit: false, sourceMap: false },
      }).outputText,
    }
  })
}

/** What each of the two modules offers to snippets that do not say where they have it from. */
function exportsOf(host: ts.CompilerHost): Map<string, Set<string>> {
  const entry = join(root, 'index.ts')
  const program = ts.createProgram({ rootNames: [given, entry], options: settings, host })
  const checker = program.getTypeChecker()
  const names = (file: string) => {
    const symbol = checker.getSymbolAtLocation(program.getSourceFile(file) as ts.Node)
    return new Set(symbol ? checker.getExportsOfModule(symbol).map(({ name }) => name) : [])
  }
  return new Map([
    ['./given.ts', names(given)],
    ['fastify-stateful', names(entry)],
  ])
}

/** On its first line, so that each line keeps its number. */
function withImports({ text: shown, before, after, language }: Snippet, offered: Map<string, Set<string>>): string {
  const text = [...before.map((code) => code.replaceAll('\n', ' ')), shown].join('; ') + after.join('\n')
  const kind = language === 'tsx' ? ts.ScriptKind.TSX : ts.ScriptKind.TS
  const file = ts.createSourceFile('snippet', text, ts.ScriptTarget.Latest, true, kind)
  const used = new Set<string>()
  const declared = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node
      const declares = 'name' in parent && parent.name === node && !ts.isShorthandPropertyAssignment(parent)
      const isMember =
        ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent) || ts.isQualifiedName(parent)
      if (!declares) used.add(node.text)
      else if (!isMember && !ts.isClassElement(parent) && !ts.isTypeElement(parent)) declared.add(node.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  let imports = ''
  for (const [module, names] of offered) {
    const wanted = [...names].filter((name) => used.has(name) && !declared.has(name))
    for (const name of wanted) declared.add(name)
    if (wanted.length > 0) imports += `import { ${wanted.join(', ')} } from '${module}'; `
  }
  return `${imports}export {}; ${text}`
}

function described({ place }: Snippet, file: ts.SourceFile | undefined, { start, messageText }: ts.Diagnostic): string {
  const [page, first] = place.split(':')
  const line = file?.getLineAndCharacterOfPosition(start ?? 0).line ?? 0
  return `${page}:${Number(first) + line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
}
