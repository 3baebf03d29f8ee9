import { type AttackOptions, attack, type Outcome } from '../test/attack/attack.ts'
import { report } from '../test/attack/report.ts'
import { Cleanup } from '../test/fixtures/cleanup.ts'
import { type StorageKind, storageKinds } from '../test/fixtures/storages.ts'

/** The storages of the command line's names; `undefined` when one of them is none. */
export function storagesNamed(names: readonly string[]): StorageKind[] | undefined {
  return names.every((name) => storageKinds.includes(name as StorageKind)) ? (names as StorageKind[]) : undefined
}

/**
 * For the command line: the same on each storage in turn, printed as it comes. Everything that was started is ended,
 * also by a signal; the exit code is 1 when anything was found.
 */
export async function attackStorages(kinds: readonly StorageKind[], options: AttackOptions): Promise<Outcome[]> {
  const cleanup = new Cleanup()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => cleanup.run().finally(() => process.exit(1)))
  }
  const outcomes: Outcome[] = []
  try {
    for (const kind of kinds) {
      const outcome = await attack(cleanup, kind, { ...options, log: say })
      outcomes.push(outcome)
      report(outcome).forEach(say)
      await cleanup.run()
    }
  } finally {
    await cleanup.run()
  }
  process.exitCode = outcomes.some(({ findings }) => findings.length > 0) ? 1 : 0
  return outcomes
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
