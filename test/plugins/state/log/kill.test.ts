import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { temporaryFolder } from '../../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 10)
t.setTimeout(60_000 + ROUNDS * 15_000)

t.test(`${ROUNDS} rounds of kill -9 under load: every acknowledged write is there`, async (t) => {
  const folder = await temporaryFolder(t)
  const writer = join(root, 'test/fixtures/state-writer.ts')
  let acknowledged = 0
  let lost = 0
  for (let round = 0; round < ROUNDS; round++) {
    const child = spawn(...untrackedTypeScript(writer, folder, `${round}`), {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    const acks: Record<string, number> = {}
    let after = -1
    for await (const line of createInterface({ input: child.stdout })) {
      const message = JSON.parse(line) as { lost?: string[]; key?: string; value?: number }
      if (message.lost) {
        lost += message.lost.length
        if (message.lost.length > 0) t.fail(`round ${round}: ${message.lost.join()} lost`)
      }
      if (message.key !== undefined && message.value !== undefined) acks[message.key] = message.value
      // In the middle of the load, at another moment in each round.
      if (message.key && after++ === 20 + round) child.kill('SIGKILL')
    }
    await exited
    acknowledged += Object.keys(acks).length
    await writeFile(join(folder, 'acks.json'), JSON.stringify(acks))
  }
  t.equal(lost, 0)
  t.ok(acknowledged > ROUNDS, `${acknowledged} acknowledged keys`)
})
