import { readFile } from 'node:fs/promises'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import ts from 'typescript'
import { testState } from '../fixtures/state.ts'

const document = await readFile(new URL('../../docs/state.md', import.meta.url), 'utf8')
const examples = [...document.matchAll(/^```ts\n(.*?)^```/gms)].map(([, source]) => source as string)

t.test('each example of docs/state.md runs', async (t) => {
  const { state, errors } = await testState(t)
  await state.set('seats', 2)
  const flags = state.space('flags')
  await flags.ready
  const position = { epoch: flags.epoch, revision: flags.revision }
  const told: unknown[] = []
  const log = { info: (...what: unknown[]) => told.push(what.at(-1)) }
  // What a watch of the examples tells its progress of.
  const others = setInterval(() => flags.increment('other'), 2)
  t.teardown(() => clearInterval(others))
  for (const example of examples) {
    const source = example.replace('progress: 5_000', 'progress: 5')
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ES2022 },
    })
    // Each has the names of the text around it; what it declares itself shadows them.
    const run = new Function(
      'given',
      `with (given) return (async () => { ${outputText.replace(/^export \{\};?$/m, '')} })()`,
    ) as (given: object) => Promise<void>
    await t.resolves(run({ app: { state }, flags, position, log, Type, userId: 'u1' }), `${example.split('\n')[0]}`)
  }
  t.ok(examples.length >= 8)
  t.same(errors, [])
  t.match(state.snapshot().state, {
    theme: 'dark',
    visitors: 1,
    orders: 1,
    'online:u1': { since: Number },
    config: { theme: 'dark' },
    seats: 1,
    passengers: ['u1'],
    'billing:plan': 'pro',
  })
  t.same(flags.get('flag:new-checkout'), true)
  t.ok(told.includes('flag changed') && told.includes('written'))
})
