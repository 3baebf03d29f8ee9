/** Writes docs/options.md: every option of every plugin, out of the types and what is said of them there. */
import { writeFile } from 'node:fs/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
export const page = new URL('../docs/options.md', import.meta.url)

/** The plugins in the order of the page, each with the interface of its options. */
const PLUGINS = {
  stateful: 'StatefulOptions',
  storage: 'StorageOptions',
  session: 'SessionOptions',
  cache: 'CacheOptions',
  responseCache: 'ResponseCacheOptions',
  state: 'StateOptions',
  sync: 'SyncOptions',
  stats: 'StatsOptions',
  accounts: 'AccountsOptions',
  tokens: 'TokensPluginOptions',
  security: 'SecurityOptions',
  cors: 'CorsOptions',
  csrf: 'CsrfOptions',
  documentation: 'DocumentationOptions',
  dashboard: 'DashboardOptions',
  createClient: 'ClientOptions',
}

const INTRODUCTION = `# Options

Every option with its type and default, made from the types by \`npm run docs\`; do not edit. Durations are milliseconds
or texts such as \`'5m'\`. An unknown option ends the boot.
`

/** What {@link page} should hold, before a formatter has aligned its tables. */
export function optionsText(): string {
  const options = ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile).config,
    ts.sys,
    root,
  ).options
  const program = ts.createProgram({ rootNames: [`${root}index.ts`, `${root}client/index.ts`], options })
  const checker = program.getTypeChecker()
  const interfaces = new Map<string, ts.InterfaceDeclaration>()
  for (const file of program.getSourceFiles()) {
    if (!isOurs(file)) continue
    ts.forEachChild(file, (node) => {
      if (ts.isInterfaceDeclaration(node)) interfaces.set(node.name.text, node)
    })
  }
  const sections = Object.entries(PLUGINS).map(([plugin, name]) => {
    const declared = interfaces.get(name)
    if (!declared) throw new Error(`There is no interface ${name}.`)
    const rows = rowsOf(checker, checker.getTypeAtLocation(declared), '', plugin)
    return `## ${plugin}\n\n| Option | Type | |\n| --- | --- | --- |\n${rows.join('\n')}\n`
  })
  return `${INTRODUCTION}\n${sections.join('\n')}`
}

/** A row for each property that is declared in this package; those of objects follow under their path. */
function rowsOf(checker: ts.TypeChecker, type: ts.Type, path: string, plugin = ''): string[] {
  return checker.getPropertiesOfType(type).flatMap((property) => {
    const declaration = property.valueDeclaration ?? property.declarations?.[0]
    if (!declaration || !isOurs(declaration.getSourceFile())) return []
    if (!ts.isPropertySignature(declaration) && !ts.isMethodSignature(declaration)) return []
    if (ts.getJSDocTags(declaration).some(({ tagName }) => tagName.text === 'internal')) return []
    const name = path + property.name
    const said = cell(commentOf(declaration))
    const optional = property.flags & ts.SymbolFlags.Optional || path !== ''
    const option = `\`${name}\`${optional ? '' : ' (required)'}`
    // Of all services together only the names: each has a section of its own.
    if (plugin === 'stateful' && property.name in PLUGINS) {
      return [`| ${option} | [${property.name}](#${property.name.toLowerCase()}) | ${said} |`]
    }
    const inner = path.split('.').length < 3 ? objectIn(checker, declaration) : undefined
    const nested = inner ? rowsOf(checker, inner, `${name}.`) : []
    return [
      `| ${option} | ${nested.length > 0 && /^\w+$|^\{|^(Partial|Omit)</.test(typeText(declaration)) ? 'object' : cell(`\`${typeText(declaration)}\``)} | ${said} |`,
      ...nested,
    ]
  })
}

/** The object that an option may be, if its properties are told in this package. */
function objectIn(
  checker: ts.TypeChecker,
  declaration: ts.PropertySignature | ts.MethodSignature,
): ts.Type | undefined {
  if (!/^\{|Options|Limits|Retention/.test(typeText(declaration))) return undefined
  const type = checker.getNonNullableType(checker.getTypeAtLocation(declaration))
  return (type.isUnion() ? type.types : [type]).find((member) =>
    checker.getPropertiesOfType(member).some(({ valueDeclaration }) => {
      return valueDeclaration && isOurs(valueDeclaration.getSourceFile()) && commentOf(valueDeclaration) !== ''
    }),
  )
}

/** What is said before a declaration: the compiler would take the name of a package (`@fastify/session`) for a tag. */
function commentOf(declaration: ts.Declaration): string {
  const [comment] = ts.getJSDocCommentsAndTags(declaration)
  const text =
    comment
      ?.getText()
      .replace(/^\/\*\*|\*\/$/g, '')
      .replaceAll(/^\s*\* ?/gm, '') ?? ''
  const [said = ''] = text.split(/^\s*@(?:example|throws|param|returns|see|default|internal|deprecated)\b/m)
  return said.replaceAll(/\{@link ([^}]+)\}/g, '`$1`')
}

function typeText(declaration: ts.PropertySignature | ts.MethodSignature): string {
  const text = ts.isMethodSignature(declaration)
    ? `(${declaration.parameters.map((each) => each.getText()).join(', ')}) => ${declaration.type?.getText() ?? 'void'}`
    : (declaration.type?.getText() ?? 'unknown')
  return text.replaceAll(/\s+/g, ' ')
}

function cell(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|')
    .trim()
}

function isOurs(file: ts.SourceFile): boolean {
  return !file.fileName.includes('node_modules') && !relative(root, file.fileName).startsWith('..')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(page, optionsText())
}
