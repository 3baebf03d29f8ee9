import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'

/** What a suite exports by default. See README.md for a worked example. */
export interface Suite {
  /** The file's name without `.ts`; the suite's name on the command line and in docs/benchmarks.md. */
  name: string
  /** One or two sentences for docs/benchmarks.md: what is measured and why a user cares. */
  description: string
  /** Measured rounds of each case. Default 5; 1 for what is deterministic, such as a hit rate. */
  rounds?: number
  cases: Case[]
}

/** One question put to several contenders. */
export interface Case {
  /** Unique in the suite, for example `GET, typed route`. */
  name: string
  /** Unit of a measurement, for example `requests/s`, `µs`, `hit rate`. */
  unit: string
  /** Whether a larger or a smaller number wins. */
  better: 'higher' | 'lower'
  /** Measured rounds of this case. Default: the suite's. */
  rounds?: number
  /** In any order; the harness rotates it from round to round. */
  contenders: Contender[]
}

export interface Contender {
  /** Unique in the case, for example `fastify-stateful` or `bentocache`. */
  name: string
  /**
   * `ours`, a `peer`, or the physical `limit`: what the machine can do at all for this question (a bare Map, a raw
   * node:http server, the clairvoyant cache). A case has at most one limit.
   */
  role: 'ours' | 'peer' | 'limit'
  /** npm packages whose installed versions are reported, for example `['bentocache', 'ioredis']`. */
  packages?: string[]
  /** Left out by `--quick`: it cannot be made small without becoming another question. */
  fullOnly?: boolean
  /**
   * Makes everything ready (servers, connections, data) and returns the measurement. Called once; what it opened is
   * closed by `teardown`. Slow setup is not measured.
   */
  setup(context: Context): Measure | Promise<Measure>
}

export interface Context {
  /** Runs after the case, last registered first, also when something failed. */
  teardown(run: () => unknown): void
  /** True with `--quick`: prove that the suite runs, with few rounds and short measurements. */
  quick: boolean
}

/** Measures once. The first call is a warm-up whose speed is thrown away (its correctness is not). */
export type Measure = () => Measurement | Promise<Measurement>

export interface Measurement {
  /** In the case's unit. */
  value: number
  /**
   * What went wrong while it was fast: counts by name, for example `{ lost: 0, stale: 12, duplicated: 0 }`. Summed over
   * the rounds. State a zero: it says that this was checked.
   */
  faults?: Record<string, number>
}

export interface Report {
  suite: string
  machine: { node: string; platform: string; cpu: string; cores: number; memoryGiB: number }
  rows: Row[]
  versions: Record<string, string>
}

export interface Row {
  /** `<case> / <contender>` */
  name: string
  case: string
  contender: string
  role: Contender['role']
  unit: string
  /** Of the measured rounds. */
  median: number
  /** Half the distance between the quartiles, as a share of the median: how much to trust a small difference. */
  spread: number
  /**
   * Share of what is possible: 1 is the limit, 0.5 is half as good, whichever direction wins. The median of the
   * rounds' own ratios, so that a machine that slows down between rounds does not count against anyone.
   * Null where the case has no limit.
   */
  ratioToLimit: number | null
  /** The same against ours: above 1, this contender is better than we are. Null where we do not take part. */
  ratioToOurs: number | null
  faults: Record<string, number>
}

interface Entrant {
  contender: Contender
  measure: Measure
  values: number[]
  faults: Record<string, number>
}

/** Runs a suite: its cases one after the other, in each the contenders in turn, round by round. */
export async function run(
  suite: Suite,
  { quick, progress }: { quick: boolean; progress: (line: string) => void },
): Promise<Report> {
  const rows: Row[] = []
  for (const question of suite.cases) {
    validate(suite, question)
    const rounds = quick ? 1 : (question.rounds ?? suite.rounds ?? 5)
    const contenders = question.contenders.filter(({ fullOnly }) => !(quick && fullOnly))
    rows.push(...(await runCase({ ...question, contenders }, { rounds, quick, progress })))
  }
  return { suite: suite.name, machine: machine(), rows, versions: versions(suite) }
}

async function runCase(
  question: Case,
  { rounds, quick, progress }: { rounds: number; quick: boolean; progress: (line: string) => void },
): Promise<Row[]> {
  const teardowns: (() => unknown)[] = []
  const context: Context = { quick, teardown: (run) => teardowns.push(run) }
  try {
    const entrants: Entrant[] = []
    for (const contender of question.contenders) {
      progress(`${question.name} / ${contender.name}: setting up`)
      const entrant: Entrant = { contender, measure: await contender.setup(context), values: [], faults: {} }
      addFaults(entrant, await entrant.measure())
      entrants.push(entrant)
    }
    for (let round = 0; round < rounds; round++) {
      progress(`${question.name}: round ${round + 1} of ${rounds}`)
      // Another one goes first in each round: the one after a heavy contender inherits its garbage and heat.
      for (let turn = 0; turn < entrants.length; turn++) {
        const entrant = entrants[(round + turn) % entrants.length] as Entrant
        globalThis.gc?.()
        const measurement = await entrant.measure()
        entrant.values.push(measurement.value)
        addFaults(entrant, measurement)
      }
    }
    return summarise(question, entrants)
  } finally {
    for (const teardown of teardowns.reverse()) await teardown()
  }
}

function validate(suite: Suite, { name, contenders }: Case): void {
  const limits = contenders.filter(({ role }) => role === 'limit')
  if (limits.length > 1) throw new Error(`${suite.name}: '${name}' has ${limits.length} limits; one is the limit`)
  if (new Set(contenders.map(({ name }) => name)).size < contenders.length) {
    throw new Error(`${suite.name}: '${name}' has two contenders of the same name`)
  }
}

function addFaults(entrant: Entrant, { faults = {} }: Measurement): void {
  for (const [fault, count] of Object.entries(faults)) entrant.faults[fault] = (entrant.faults[fault] ?? 0) + count
}

function summarise({ name, unit, better }: Case, entrants: Entrant[]): Row[] {
  const limit = entrants.find(({ contender }) => contender.role === 'limit')
  const ours = entrants.find(({ contender }) => contender.role === 'ours')
  return entrants.map((entrant) => ({
    name: `${name} / ${entrant.contender.name}`,
    case: name,
    contender: entrant.contender.name,
    role: entrant.contender.role,
    unit,
    median: quantile(entrant.values, 0.5),
    spread: spread(entrant.values),
    ratioToLimit: limit ? ratio(entrant, limit, better) : null,
    ratioToOurs: ours ? ratio(entrant, ours, better) : null,
    faults: entrant.faults,
  }))
}

/** How good the one is compared with the other: the median over the rounds, in which they ran side by side. */
function ratio(entrant: Entrant, other: Entrant, better: Case['better']): number {
  const ratios = entrant.values.map((value, round) => {
    const reference = other.values[round] ?? Number.NaN
    return better === 'higher' ? value / reference : reference / value
  })
  return quantile(ratios, 0.5)
}

function spread(values: number[]): number {
  const median = quantile(values, 0.5)
  return median === 0 ? 0 : (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median
}

/** With linear interpolation (type 7 of Hyndman and Fan). */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const position = (sorted.length - 1) * share
  const below = sorted[Math.floor(position)] ?? Number.NaN
  const above = sorted[Math.ceil(position)] ?? Number.NaN
  return below + (above - below) * (position - Math.floor(position))
}

function machine(): Report['machine'] {
  const cores = cpus()
  return {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  }
}

function versions(suite: Suite): Record<string, string> {
  const root = new URL('../', import.meta.url)
  const { name, version } = readManifest(new URL('package.json', root)) ?? { name: 'ours', version: 'unknown' }
  const found: Record<string, string> = { [name]: `${version}${revision(root)}` }
  const packages = suite.cases.flatMap(({ contenders }) => contenders.flatMap(({ packages = [] }) => packages))
  for (const name of new Set(packages)) {
    const manifest =
      readManifest(new URL(`bench/node_modules/${name}/package.json`, root)) ??
      readManifest(new URL(`node_modules/${name}/package.json`, root))
    if (!manifest) throw new Error(`${suite.name}: package '${name}' is not installed`)
    found[name] = manifest.version
  }
  return found
}

function readManifest(file: URL): { name: string; version: string } | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

function revision(root: URL): string {
  try {
    const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return `+${revision.trim()}`
  } catch {
    return ''
  }
}
