import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { StatefulError as Exported } from '../../../index.ts'
import { TypeMismatchError } from '../../../plugins/state/index.ts'
import * as errors from '../../../plugins/support/errors.ts'
import { StatefulError } from '../../../plugins/support/stateful-error.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const documentation = await readFile(join(root, 'docs/errors.md'), 'utf8')

/** Code → status of each row; `–` for codes that are no HTTP answer. */
const documented = new Map(
  [...documentation.matchAll(/^\| `(STATEFUL_\w+)` +\| (\d{3}|–) +\| .+ \| .+ \|$/gm)].map(([, code, status]) => [
    code,
    status,
  ]),
)

const thrown = Object.entries(errors).map(([name, ErrorClass]) => ({
  name,
  error: new ErrorClass('one', 'two', 'three'),
}))

t.test('each error class has a code of its own, a status, and a text that says something', async (t) => {
  const codes = new Set<string>()
  for (const { name, error } of thrown) {
    t.match(name, /Error$/)
    t.match(error.code, /^STATEFUL_[A-Z0-9]+(_[A-Z0-9]+)*$/, name)
    t.notOk(codes.has(error.code), `${error.code} once`)
    codes.add(error.code)
    t.ok((error.statusCode ?? 0) >= 400 && (error.statusCode ?? 0) < 600, name)
    t.notMatch(error.message, /%s/, `${name} takes at most three values`)
  }
})

t.test('each is an instance of one class, which the package exports, and no other error is', async (t) => {
  t.equal(Exported, StatefulError)
  for (const { name, error } of thrown) {
    t.ok(error instanceof StatefulError, name)
    t.ok(error instanceof Error, name)
    t.ok(error.stack?.includes('errors.test.ts'), `${name} says where it was made`)
  }
  t.ok(new TypeMismatchError({ op: 'delete', key: 'k' }, 'a number') instanceof StatefulError, "the reducer's as well")
  for (const other of [new Error('x'), Object.assign(new Error('x'), { code: 'STATEFUL_NOT_FOUND' }), undefined]) {
    t.notOk(other instanceof StatefulError)
  }
})

t.test('each class is documented, with its status', async (t) => {
  for (const { error } of thrown) {
    t.equal(documented.get(error.code), `${error.statusCode}`, `${error.code} in docs/errors.md`)
  }
})

t.test('each problem that the OpenAPI document shows has the documented status, and its code as a URN', async (t) => {
  const shown = new Map<string, Record<string, unknown>>()
  JSON.parse(await readFile(join(root, 'openapi/openapi.json'), 'utf8'), (_, part) => {
    if (typeof part?.code === 'string' && typeof part.status === 'number') shown.set(part.code, part)
    return part
  })
  t.ok(shown.size > 30)
  for (const [code, { status, type }] of shown) {
    t.equal(documented.get(code), `${status}`, `${code} in docs/errors.md`)
    t.equal(type, `urn:fastify-stateful:problem:${code.slice('STATEFUL_'.length).toLowerCase().replaceAll('_', '-')}`)
  }
})

async function sources(): Promise<string[]> {
  const folders = ['plugins', 'routes', 'openapi', 'client']
  const nested = await Promise.all(
    folders.map(async (folder) => {
      const entries = await readdir(join(root, folder), { recursive: true }).catch(() => [])
      return entries.map((entry) => join(root, folder, entry))
    }),
  )
  const top = (await readdir(root)).map((entry) => join(root, entry))
  return [...top, ...nested.flat()].filter((file) => /(?<!\.d)\.(ts|tsx|lua)$/.test(file))
}

t.test('no code in the sources is missing in the documentation, and none there is invented', async (t) => {
  const used = new Set<string>()
  for (const file of await sources()) {
    // Quoted whole: a comment that mentions one, or a prefix that is cut off, is no use of a code.
    for (const [, code] of (await readFile(file, 'utf8')).matchAll(/['"`](STATEFUL_[A-Z0-9_]*[A-Z0-9])['"`]/g)) {
      if (code) used.add(code)
    }
  }
  t.ok(used.size > 30)
  for (const code of used) t.ok(documented.has(code), `${code} is documented`)
  for (const code of documented.keys()) t.ok(code && used.has(code), `${code} exists`)
})
