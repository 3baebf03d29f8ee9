/** Links between pages: the file is there, and so is the heading that an anchor names. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))

async function pages(): Promise<string[]> {
  const top = (await readdir(root)).filter((name) => name.endsWith('.md'))
  const docs = (await readdir(join(root, 'docs'), { recursive: true })).filter((name) => name.endsWith('.md'))
  return [...top, ...docs.map((name) => join('docs', name)), 'plugins/README.md', 'bench/README.md']
}

const withoutFences = (text: string) => text.replaceAll(/^(`{3,})[\s\S]*?^\1$/gm, '')

/** Anchors as GitHub makes them of headings, a second one of a name numbered; and those that stand there by hand. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of withoutFences(text).matchAll(/^#{1,6} +(.+)$/gm)) {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = plain.replaceAll(/[^\p{L}\p{N}\p{Pc} -]/gu, '').replaceAll(' ', '-')
    let name = anchor
    for (let n = 1; anchors.has(name); n++) name = `${anchor}-${n}`
    anchors.add(name)
  }
  for (const [, id = ''] of text.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(id)
  return anchors
}

t.test('every link between pages leads somewhere', async (t) => {
  const texts = new Map<string, string>()
  for (const page of await pages()) texts.set(join(root, page), await readFile(join(root, page), 'utf8'))
  let anchored = 0
  for (const [page, text] of texts) {
    for (const [, target = ''] of withoutFences(text).matchAll(/\]\((?![a-z]+:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : join(dirname(page), path)
      if (!(await stat(file).catch(() => undefined))) {
        t.fail(`${page}: there is no '${path}'`)
        continue
      }
      const linked = texts.get(file)
      if (anchor === undefined || linked === undefined) continue
      anchored++
      if (!anchorsOf(linked).has(anchor)) t.fail(`${page}: '${path}' has no heading for '#${anchor}'`)
    }
  }
  t.ok(anchored > 20, `${anchored} links name a heading`)
})
