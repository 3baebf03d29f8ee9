import t from 'tap'
import { onEveryStorage } from '../fixtures/storages.ts'
import { attack } from './attack.ts'
import { report, table } from './report.ts'

/** The real thing: `npm run attack -- --minutes 10`. */
const SECONDS = 5
const SEED = 1

t.setTimeout(600_000)

t.test(`${SECONDS} seconds of attack: nothing happens that must not (seed ${SEED})`, (t) =>
  onEveryStorage(t, async (t, kind) => {
    const outcome = await attack(t, kind, { seed: SEED, seconds: SECONDS })
    for (const line of [...report(outcome), ...table([outcome])]) t.comment(line)
    t.same(
      outcome.findings.map(({ kind, where }) => `${kind} [${where}]`),
      [],
    )
    t.ok(Object.keys(outcome.attacks).length > 4, 'there was an attack')
    t.ok(outcome.served > 20 && outcome.promises > 0, 'and there were others')
  }),
)
