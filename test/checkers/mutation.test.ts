import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'
import { InvalidMutantError, type Mutant, mutationWorkspace } from './mutation.ts'

const files = {
  'package.json': '{ "type": "module" }',
  'tsconfig.json':
    '{ "compilerOptions": { "module": "nodenext", "target": "es2023", "rootDir": ".", "verbatimModuleSyntax": true } }',
  'plugins/door.ts': `
    export function open(password: string): boolean {
      if (password.length === 0) return false
      return password === 'sesame'
    }
    export function unguarded(): number {
      return 1
    }
    export const spin = () => { while (globalThis.spinning) {} }
  `,
  'test/door.test.ts': `
    import t from 'tap'
    import { open, spin } from '../plugins/door.ts'
    t.ok(open('sesame'))
    t.notOk(open('please'), 'a wrong password')
    spin()
  `,
  'test/red.test.ts': `import t from 'tap'\nt.fail('always')`,
  'test/empty.test.ts': 'export {}',
}

async function repository(t: Test): Promise<string> {
  const root = await temporaryFolder(t)
  await mkdir(join(root, 'plugins'))
  await mkdir(join(root, 'test'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(root, name), text)
  await symlink(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(root, 'node_modules'))
  return root
}

t.test('tells a guard that a test holds from one that none does, and leaves the sources alone', async (t) => {
  const root = await repository(t)
  const workspace = await mutationWorkspace(t, root)
  const door = (from: string, to: string, more: Partial<Mutant> = {}): Mutant => ({
    file: 'plugins/door.ts',
    suite: 'test/door.test.ts',
    from,
    to,
    ...more,
  })

  t.match(await workspace.run(door("return password === 'sesame'", 'return true')), {
    killed: true,
    reason: 'failed',
    failure: /a wrong password/,
  })
  t.match(await workspace.run(door('return 1', 'return 2')), { killed: false, reason: 'survived' })
  t.match(await workspace.run(door('globalThis.spinning', 'true', { timeout: 3_000 })), {
    killed: true,
    reason: 'timeout',
  })
  t.match(await workspace.run(door('return 1', 'return 3')), { killed: false }, 'earlier mutations are undone')
  t.equal(await readFile(join(root, 'plugins/door.ts'), 'utf8'), files['plugins/door.ts'])
  t.notOk((await readdir(root)).includes('tmp'))

  const invalid: Record<string, [Mutant, RegExp]> = {
    'the text is not there': [door('return 42', ''), /found 0 times/],
    'the text is there twice': [door('return', 'throw'), /found 3 times/],
    'no text': [door('', 'x'), /instead of once/],
    'no change': [door('return 1', 'return 1'), /changes nothing/],
    'no TypeScript': [door('return 1', 'return ('), /[Ee]xpression expected/],
    'no such file': [door('a', 'b', { file: 'plugins/none.ts' }), /no such file/],
    'a suite that is red anyway': [
      door('return 1', 'return 2', { suite: 'test/red.test.ts' }),
      /red without it: always/,
    ],
    'a suite that tests nothing': [door('return 1', 'return 2', { suite: 'test/empty.test.ts' }), /red without it/],
  }
  for (const [name, [mutant, message]] of Object.entries(invalid)) {
    const error = await workspace.run(mutant).then(t.fail, (error) => error)
    t.ok(error instanceof InvalidMutantError, name)
    t.match(error.message, message, name)
  }
})
