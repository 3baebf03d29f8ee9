/**
 * Writes llms.txt, as a part of `npm run docs`: the table of contents for language models (llmstxt.org), from the titles
 * and first sentences of the documentation.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const root = new URL('../', import.meta.url)
const file = new URL('llms.txt', root)

/** What {@link file} should hold. */
export async function llmsText(): Promise<string> {
  const { name, description } = JSON.parse(await readFile(new URL('package.json', root), 'utf8'))
  const names = await readdir(new URL('docs', root), { recursive: true })
  const pages = names.filter((page) => page.endsWith('.md')).sort()
  const guides = pages.filter((page) => page.startsWith('migrating/'))
  const examples = (await readdir(new URL('examples', root))).sort()
  return [
    `# ${name}\n\n> ${description}`,
    section('Start here', [await entry('README.md'), await entry('docs/walkthrough.md')]),
    section(
      'Documentation',
      await entries(pages.filter((page) => !guides.includes(page) && page !== 'walkthrough.md')),
    ),
    section('Moving from other packages', await entries(guides)),
    section('Contracts', [
      '- [OpenAPI](openapi/openapi.json): every route, with examples and error codes',
      '- [AsyncAPI](openapi/asyncapi.json): every message of live connections',
    ]),
    section('Optional', [
      ...examples.map((example) => `- [Example: ${example.replace(/\.js$/, '')}](examples/${example})`),
      '- [Changelog](CHANGELOG.md): what changed, and what to do about it',
      '- [Contributing](CONTRIBUTING.md)',
    ]),
  ].join('\n\n')
}

function section(title: string, lines: string[]): string {
  return `## ${title}\n\n${lines.join('\n')}${title === 'Optional' ? '\n' : ''}`
}

function entries(pages: string[]): Promise<string[]> {
  return Promise.all(pages.map((page) => entry(`docs/${page}`)))
}

/** The title, and the first sentence of the first paragraph as plain text. */
async function entry(page: string): Promise<string> {
  const text = (await readFile(new URL(page, root), 'utf8')).replaceAll(/<!--.*?-->\n*|^```.*?^```\n*/gms, '')
  const blocks = text.split(/\n{2,}/)
  const title = blocks[0]?.replace(/^# /, '') ?? page
  const paragraph = blocks.slice(1).find((block) => /^[\w`[(“"]/.test(block)) ?? ''
  const plain = paragraph.replaceAll(/\[([^\]]+)\]\([^)]*\)/g, '$1').replaceAll(/[*_]{1,2}(\S[^*_]*\S)[*_]{1,2}/g, '$1')
  const sentence = /^.*?\.(?=\s|$)/s.exec(plain)?.[0] ?? plain
  return `- [${title}](${page})${sentence ? `: ${sentence.replaceAll(/\s+/g, ' ').replace(/[.:]$/, '')}` : ''}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeFile(file, await llmsText())
