import { run } from '/work/main/bench/harness.ts'
const { default: suite } = await import('/work/main/bench/suites/session.ts')
suite.cases = suite.cases.filter(c => new RegExp(process.argv[2]).test(c.name))
const r = await run(suite, { quick: true, progress: () => {} })
for (const row of r.rows) console.log(row.name, Math.round(row.median), row.ratioToLimit?.toFixed(2), JSON.stringify(row.faults))
process.exit(0)
