import t from 'tap'
import { startHistories } from '../../simulation/histories.ts'

t.setTimeout(600_000)
const playHistories = startHistories(t)

const HISTORIES = Number(process.env['WRITE_BEHIND_HISTORIES'] ?? 2_000)
/** Fixed, so that a change is judged by the same histories as the one before; another one explores. */
const SEED = Number(process.env['WRITE_BEHIND_SEED'] ?? 1)

t.test(`${HISTORIES} random histories: source, cache and journal agree`, async (t) => {
  const { failed, runs, report } = await playHistories({ game: 'write-behind', histories: HISTORIES, seed: SEED })
  t.notOk(failed, report)
  t.equal(runs, HISTORIES)
})
