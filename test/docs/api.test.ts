/**
 * The reference that `npm run api` makes: every public class and interface says what it is, every link leads somewhere,
 * and what is public refers to nothing that is not, but for what scripts/typedoc.json lists: types that are never
 * named.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { untracked } from '../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

t.test('TypeDoc has nothing to complain about', async (t) => {
  const bin = fileURLToPath(new URL('../../node_modules/typedoc/bin/typedoc', import.meta.url))
  const args = [bin, '--options', 'scripts/typedoc.json', '--emit', 'none']
  const { status, stdout, stderr } = spawnSync(...untracked(process.execPath, args), { cwd: root, encoding: 'utf8' })
  t.equal(status, 0, `${stdout}${stderr}`)
})
