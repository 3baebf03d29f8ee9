import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { failuresOf, totalsOf } from '../../scripts/tap-totals.mjs'

const script = fileURLToPath(new URL('../../scripts/tap-totals.mjs', import.meta.url))
const report = (summary: string) =>
  `TAP version 14\n# Subtest: a.test.ts\n    1..1\n1..1\n${summary}\n# time=3944.966ms\n`

function run(input: string) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [script], { input, encoding: 'utf8' })
  return { stdout, stderr, status }
}

t.test('reads the totals, with zeros left out', async (t) => {
  t.same(totalsOf(report('# { total: 7, pass: 7 }')), { passed: 7, failed: 0, skipped: 0, todo: 0 })
  t.same(totalsOf(report('# { total: 1, pass: 0, fail: 1 }')), { passed: 0, failed: 1, skipped: 0, todo: 0 })
  t.same(totalsOf(report('# { total: 6, pass: 2, todo: 2, skip: 2 }')), { passed: 2, failed: 0, skipped: 2, todo: 2 })
})

t.test('takes the run’s own totals, not those that a test has printed', async (t) => {
  const printed = `# { total: 9, pass: 9 }\n${report('    # { total: 3, pass: 3 }\n# { total: 2, pass: 1, fail: 1 }')}`
  t.same(totalsOf(printed), { passed: 1, failed: 1, skipped: 0, todo: 0 })
})

t.test('a report without totals is an error', async (t) => {
  t.throws(() => totalsOf(''), /no totals/)
  t.throws(() => totalsOf('TAP version 14\nok 1 - a\n'), /no totals/)
})

t.test('totals that do not add up are an error', async (t) => {
  t.throws(() => totalsOf(report('# { total: 7, pass: 6 }')), /do not add up/)
})

t.test('the last line is what CI reads, and the exit code agrees', async (t) => {
  t.same(run(report('# { total: 7, pass: 7 }')), { stdout: '7 passed, 0 failed\n', stderr: '', status: 0 })
  t.match(run(report('# { total: 7, pass: 6, fail: 1 }')), { stdout: '6 passed, 1 failed\n', status: 1 })
  t.match(run(report('# { total: 3, pass: 1, skip: 2 }')), {
    stdout: '2 skipped, 0 todo\n1 passed, 0 failed\n',
    status: 0,
  })
})

t.test('a run in which nothing passed has not succeeded', async (t) => {
  t.match(run(report('# { total: 0 }')), { stdout: '0 passed, 0 failed\n', status: 1 })
  t.match(run('tap crashed'), { stdout: '', status: 1, stderr: /no totals/ })
})

t.test('what failed is told once more, before the totals', async (t) => {
  const failed = `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: counts
        ok 1 - one
        not ok 2 - two
          ---
          at: a.test.ts
          ...
        not ok 3 - not yet # TODO
        1..3
    not ok 1 - counts # time=1.5ms
      ---
      at: runner
      ...
    1..1
not ok 1 - test/a.test.ts # time=2ms
# Subtest: test/b.test.ts
    ok 1 - fine
    1..1
ok 2 - test/b.test.ts # time=1ms
# Subtest: test/c.test.ts
    ok 1 - fine
not ok 3 - test/c.test.ts # time=1ms
  ---
  signal: SIGKILL
  ...
# { total: 5, pass: 3, fail: 1, todo: 1 }
`
  t.same(failuresOf(failed), [
    'not ok: test/a.test.ts > counts > two\n          ---\n          at: a.test.ts\n          ...',
    'not ok: test/c.test.ts\n  ---\n  signal: SIGKILL\n  ...',
  ])
  const { stdout } = run(failed)
  t.match(stdout, /^not ok: test\/a\.test\.ts > counts > two\n/)
  t.match(stdout, /\n0 skipped, 1 todo\n3 passed, 1 failed\n$/)
})
