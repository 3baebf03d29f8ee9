import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import type { ServerProcess } from '../fixtures/server-process.ts'
import { type Findings, shown } from './findings.ts'

/** What the process may keep resident once the attack is over. */
const MAX_MEGABYTES = 512
/** Descriptors that may stay open after the attack: keep-alive connections of the honest users, files of the storage. */
const MORE_FILES = 30
/** Milliseconds in which a server that is left alone is well again. */
const RECOVERY = 15_000
/** A slow health check says that the event loop is held up. */
const PROMPT = 2_000

export interface Measured {
  megabytes: number
  openFiles: number | undefined
}

/** Megabytes of memory that the process has resident. */
function residentMegabytes(pid: number): number {
  return Math.round(Number(execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' })) / 1024)
}

/** @returns undefined where there is no /proc */
function openFiles(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return undefined
  }
}

export function measure({ process: { pid = 0 } }: ServerProcess): Measured {
  return { megabytes: residentMegabytes(pid), openFiles: openFiles(pid) }
}

/** Waits until the server that nobody attacks any more says that it is ready. */
export async function ready({ url }: ServerProcess, findings: Findings): Promise<boolean> {
  let last = ''
  for (const began = performance.now(); performance.now() - began < RECOVERY; await wait(100)) {
    try {
      const { status } = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(PROMPT) })
      if (status === 200) return true
      last = `${status}`
    } catch (error) {
      last = (error as Error).message
    }
  }
  findings.add({ kind: 'not ready after the attack', where: 'GET /health/ready', example: last })
  return false
}

/** What the attack has left behind in the process and in its log. */
export async function inspect(
  server: ServerProcess,
  before: Measured,
  findings: Findings,
  secrets: readonly string[],
): Promise<Measured> {
  const most = (before.openFiles ?? 0) + MORE_FILES
  let after = measure(server)
  const well = () => after.megabytes < MAX_MEGABYTES && (after.openFiles ?? 0) <= most
  for (const began = performance.now(); !well() && performance.now() - began < RECOVERY; await wait(250)) {
    after = measure(server)
  }
  const add = (kind: string, example: string) => findings.add({ kind, where: 'the process', example })
  if (after.megabytes >= MAX_MEGABYTES) add('memory is not given back', `${after.megabytes} MB resident`)
  if ((after.openFiles ?? 0) > most) add('files stay open', `${before.openFiles} before, ${after.openFiles} after`)
  readLog(server.output(), findings, secrets)
  return after
}

/** Only the fatal, and what does not belong there: that requests fail while a storage is away is as it should be. */
export function readLog(output: string, findings: Findings, secrets: readonly string[]): void {
  for (const line of output.split('\n')) {
    const fatal =
      /"level":60\b/.test(line) ||
      /uncaught|unhandled|nobody (caught|handled)|\bFATAL\b|heap out of memory|closing after/i.test(line)
    if (fatal) {
      const what = /"message":"([^"]{1,80})/.exec(line)?.[1] ?? line.slice(0, 80)
      findings.add({ kind: 'the log has something fatal', where: what, example: shown(line, 600) })
    }
    if (secrets.some((secret) => line.includes(secret))) {
      findings.add({ kind: 'a secret in the log', where: 'the log', example: shown(line, 200) })
    }
  }
}
