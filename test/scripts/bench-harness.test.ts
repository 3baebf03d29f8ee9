import t from 'tap'
import { type Contender, type Measurement, quantile, run, type Suite } from '../../bench/harness.ts'
import { replaceSection, toMarkdown, toTable } from '../../bench/report.ts'

/** A contender whose measurements are given; the first one is its warm-up. */
function scripted(name: string, role: Contender['role'], measurements: Measurement[], log: string[] = []): Contender {
  return {
    name,
    role,
    setup({ teardown }) {
      log.push(`open ${name}`)
      teardown(() => log.push(`close ${name}`))
      const queue = [...measurements]
      return () => {
        log.push(name)
        return queue.shift() as Measurement
      }
    },
  }
}

const suite = (contenders: Contender[], better: 'higher' | 'lower' = 'higher'): Suite => ({
  name: 'sample',
  description: 'A sample.',
  rounds: 3,
  cases: [{ name: 'case', unit: 'calls/s', better, contenders }],
})

const quiet = { quick: false, progress: () => {} }
const values = (...values: number[]) => values.map((value) => ({ value }))

t.test('contenders take turns, another one first in each round, and are closed in reverse', async (t) => {
  const log: string[] = []
  await run(
    suite([scripted('a', 'ours', values(0, 1, 1, 1), log), scripted('b', 'limit', values(0, 1, 1, 1), log)]),
    quiet,
  )
  t.same(log, ['open a', 'a', 'open b', 'b', 'a', 'b', 'b', 'a', 'a', 'b', 'close b', 'close a'])
})

t.test('medians leave the warm-up out; ratios compare what ran in the same round', async (t) => {
  // The machine became ten times slower in the last round, for both.
  const contenders = [scripted('ours', 'ours', values(1, 80, 50, 5)), scripted('map', 'limit', values(1, 100, 100, 10))]
  const { rows } = await run(suite(contenders), quiet)
  t.match(rows[0], { name: 'case / ours', unit: 'calls/s', median: 50, ratioToLimit: 0.5, ratioToOurs: 1 })
  t.match(rows[1], { name: 'case / map', median: 100, ratioToLimit: 1, ratioToOurs: 2 })
})

t.test('a larger ratio is better, also where less is better', async (t) => {
  const contenders = [scripted('ours', 'ours', values(9, 20, 20, 20)), scripted('wire', 'limit', values(9, 10, 10, 10))]
  const { rows } = await run(suite(contenders, 'lower'), quiet)
  t.same(
    rows.map(({ ratioToLimit }) => ratioToLimit),
    [0.5, 1],
  )
})

t.test('a case without limit, or without us, has no such ratio', async (t) => {
  const { rows } = await run(suite([scripted('peer', 'peer', values(1, 1, 1, 1))]), quiet)
  t.match(rows[0], { ratioToLimit: null, ratioToOurs: null })
})

t.test('faults are summed over all rounds, the warm-up included', async (t) => {
  const lossy = Array.from({ length: 4 }, () => ({ value: 1, faults: { lost: 2, stale: 0 } }))
  const { rows } = await run(suite([scripted('peer', 'peer', lossy)]), quiet)
  t.same(rows[0]?.faults, { lost: 8, stale: 0 })
})

t.test('what was opened is closed when a contender fails', async (t) => {
  const log: string[] = []
  const broken: Contender = { name: 'broken', role: 'peer', setup: () => Promise.reject(new Error('no server')) }
  await t.rejects(run(suite([scripted('a', 'ours', values(0), log), broken]), quiet), { message: 'no server' })
  t.equal(log.at(-1), 'close a')
})

t.test('two limits or two contenders of one name are a mistake', async (t) => {
  const one = (name: string, role: Contender['role']) => scripted(name, role, values(1, 1, 1, 1))
  await t.rejects(run(suite([one('a', 'limit'), one('b', 'limit')]), quiet), /2 limits/)
  await t.rejects(run(suite([one('a', 'ours'), one('a', 'peer')]), quiet), /same name/)
})

t.test('versions name this package and those of the contenders', async (t) => {
  const contender = { ...scripted('peer', 'peer', values(1, 1, 1, 1)), packages: ['fastify'] }
  const { versions, machine } = await run(suite([contender]), quiet)
  t.match(versions, { 'fastify-stateful': /^\d+\.\d+\.\d+/, fastify: /^5\./ })
  t.equal(machine.node, process.version)
  const missing = { ...scripted('peer', 'peer', values(1, 1, 1, 1)), packages: ['no-such-package'] }
  await t.rejects(run(suite([missing]), quiet), /'no-such-package' is not installed/)
})

t.test('quantiles interpolate', async (t) => {
  t.equal(quantile([4, 1, 3, 2], 0.5), 2.5)
  t.equal(quantile([1, 2, 3], 0.5), 2)
  t.equal(quantile([7], 0.25), 7)
})

t.test('the document quotes ratios and faults and no absolute time; the table has both', async (t) => {
  const contenders = [
    scripted('ours', 'ours', Array(4).fill({ value: 54321, faults: { lost: 0 } })),
    scripted('limit', 'limit', values(1, 108642, 108642, 108642)),
  ]
  const sample = suite(contenders)
  const report = await run(sample, quiet)
  const section = toMarkdown(sample, report)
  t.match(section, /\| \*\*ours\*\* \| 0\.50 \| 1\.00 \| 0 % \| 0 lost \|/)
  t.match(section, /\| limit \| 1\.00 \| 2\.00 \| 0 % \| not checked \|/)
  t.notMatch(section, /54[,.]?321/)
  t.match(toTable(report), /case \/ ours +54,321 +calls\/s +0 % +0\.50 +1\.00 +0 lost/)
})

t.test('a suite replaces its own part of the document and leaves the others', async (t) => {
  const first = replaceSection('', 'b', 'of b\n')
  const both = replaceSection(first, 'a', 'of a\n')
  t.match(both, /<!-- suite a -->\nof a\n<!-- end -->\n\n<!-- suite b -->\nof b\n<!-- end -->\n$/)
  t.equal(replaceSection(both, 'b', 'new\n'), both.replace('of b', 'new'))
})
