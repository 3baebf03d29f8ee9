import { type ChildProcess, spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import ts from 'typescript'
import { untracked } from '../fixtures/untracked.ts'

/** A guard taken out of the sources, and the test that has to notice. */
export interface Mutant {
  /** Source file, relative to the root of the repository. */
  file: string
  /** The exact text to replace; must occur in the file exactly once. */
  from: string
  to: string
  /** The test file that must turn red, relative to the root. */
  suite: string
  /** What the guard is for; names the mutant in reports. Default: the file and the replaced text */
  guards?: string
  /** Milliseconds for the test file. Default 60 000 */
  timeout?: number
}

export interface MutantResult {
  /** The suite turned red (or hung, which the test runner also reports as red). */
  killed: boolean
  reason: 'failed' | 'timeout' | 'survived'
  /** The first failed assertion, so that one can see whether it fails for the right reason. */
  failure?: string
  milliseconds: number
}

/** Something is wrong with the mutant or its suite; it proves nothing either way. */
export class InvalidMutantError extends Error {
  constructor(mutant: Mutant, reason: string) {
    super(`mutant of ${mutant.file}: ${reason}`)
    this.name = 'InvalidMutantError'
  }
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const FOLDERS = ['cli', 'plugins', 'openapi', 'client', 'routes', 'scripts', 'test']
const FILES = /^(package\.json|tsconfig\.json|[\w-]+\.ts)$/
const DEFAULT_TIMEOUT = 60_000
const isInstalled = (file: string) => file.endsWith('/node_modules')

/**
 * A private copy of the sources in which guards are removed one at a time. The checkout itself is never changed, so
 * other tests may run meanwhile.
 */
export class MutationWorkspace {
  readonly #folder: string
  readonly #baselines = new Map<string, SuiteRun>()
  readonly #running = new Set<ChildProcess>()
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** @param root the repository to copy; by default this one */
  static async create(root = ROOT): Promise<MutationWorkspace> {
    const folder = await mkdtemp(join(tmpdir(), 'stateful-mutants-'))
    for (const entry of await readdir(root)) {
      if (!FOLDERS.includes(entry) && !FILES.test(entry)) continue
      await cp(join(root, entry), join(folder, entry), { recursive: true, filter: (file) => !isInstalled(file) })
    }
    // The page as it was built; of the library nothing built may be there, or a suite would try what is not mutated.
    await cp(join(root, 'dist/dashboard'), join(folder, 'dist/dashboard'), { recursive: true }).catch(() => {})
    // What a killed suite leaves behind goes with the workspace.
    await mkdir(join(folder, 'tmp'))
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    return new MutationWorkspace(folder)
  }

  /**
   * Runs the suite against the mutated sources. Calls are served one after the other.
   * @throws InvalidMutantError when the text is not found exactly once, the result is not TypeScript, or the suite
   * is red without any mutation
   */
  run(mutant: Mutant): Promise<MutantResult> {
    const result = this.#turn.then(() => this.#run(mutant))
    this.#turn = result.catch(() => {})
    return result
  }

  async dispose(): Promise<void> {
    for (const child of this.#running) endGroup(child)
    await this.#turn
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #run(mutant: Mutant): Promise<MutantResult> {
    const path = join(this.#folder, mutant.file)
    const original = await readFile(path, 'utf8').catch(() => {
      throw new InvalidMutantError(mutant, 'there is no such file')
    })
    const mutated = mutate(original, mutant)
    const timeout = mutant.timeout ?? DEFAULT_TIMEOUT
    // A suite that is red anyway would "kill" whatever it is shown.
    const before = this.#baselines.get(mutant.suite) ?? (await this.#test(mutant.suite, timeout))
    this.#baselines.set(mutant.suite, before)
    if (!before.green) {
      throw new InvalidMutantError(mutant, `${mutant.suite} is red without it: ${before.failure ?? 'it timed out'}`)
    }
    await writeFile(path, mutated)
    try {
      const { green, timedOut, failure, milliseconds } = await this.#test(mutant.suite, timeout)
      const reason = green ? 'survived' : timedOut ? 'timeout' : 'failed'
      return { killed: !green, reason, milliseconds, ...(failure === undefined ? {} : { failure }) }
    } finally {
      await writeFile(path, original)
    }
  }

  /** Runs one test file as tap would, without its coverage, which is most of the time of a short file. */
  async #test(suite: string, timeout: number): Promise<SuiteRun> {
    const started = performance.now()
    const child = spawn(...untracked(process.execPath, [...loaders(), suite]), {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that a hanging test takes the servers that it started with it.
      detached: true,
      env: { ...cleanEnvironment(), TAP_BAIL: '1', TMPDIR: join(this.#folder, 'tmp') },
    })
    this.#running.add(child)
    let output = ''
    const collect = (chunk: Buffer) => {
      output += chunk
    }
    child.stdout?.on('data', collect)
    child.stderr?.on('data', collect)
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      endGroup(child)
    }, timeout)
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    }).finally(() => {
      clearTimeout(timer)
      this.#running.delete(child)
      endGroup(child)
    })
    const failure = /^\s*not ok \d+ - (.*)$/m.exec(output)?.[1] ?? (code === 0 ? undefined : output.slice(-500))
    const ran = /^\s*(not )?ok \d+/m.test(output)
    return {
      green: code === 0 && ran && !timedOut,
      timedOut,
      milliseconds: Math.round(performance.now() - started),
      ...(failure === undefined || timedOut ? {} : { failure }),
    }
  }
}

interface SuiteRun {
  green: boolean
  timedOut: boolean
  failure?: string
  milliseconds: number
}

/** Those that run this very test, without the one that records coverage. */
const loaders = (): string[] => process.execArgv.filter((argument) => !argument.includes('processinfo'))

/** The runner of the test that calls us must not take the child's results for its own. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)))
}

function endGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The group is gone.
  }
}

function mutate(source: string, mutant: Mutant): string {
  const parts = source.split(mutant.from)
  if (mutant.from === '' || parts.length !== 2) {
    throw new InvalidMutantError(mutant, `the text is found ${parts.length - 1} times instead of once: ${mutant.from}`)
  }
  if (mutant.from === mutant.to) throw new InvalidMutantError(mutant, 'it changes nothing')
  const mutated = parts.join(mutant.to)
  if (mutant.file.endsWith('.ts')) {
    const { diagnostics } = ts.transpileModule(mutated, { reportDiagnostics: true, fileName: mutant.file })
    const first = diagnostics?.[0]
    if (first) throw new InvalidMutantError(mutant, ts.flattenDiagnosticMessageText(first.messageText, '\n'))
  }
  return mutated
}

/** For suites: a workspace that ends with the test. */
export async function mutationWorkspace(t: Test, root?: string): Promise<MutationWorkspace> {
  const workspace = await MutationWorkspace.create(root)
  t.teardown(() => workspace.dispose())
  return workspace
}

/** Asserts that the suite notices; `await killed(t, workspace, { file, from, to, suite })`. */
export async function killed(t: Test, workspace: MutationWorkspace, mutant: Mutant): Promise<void> {
  const result = await workspace.run(mutant)
  const name = mutant.guards ?? `${mutant.file}: ${mutant.from.trim().split('\n')[0]}`
  t.ok(result.killed, name, { mutant, result })
  if (result.killed) t.comment(`${result.reason} after ${result.milliseconds} ms: ${result.failure ?? ''}`)
}
