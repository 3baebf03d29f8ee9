/** The suite that Keyv's own adapters have to pass, run through ours. It was written for vitest: this stands in for it. */
import { isDeepStrictEqual } from 'node:util'
import keyvTestSuite, { keyvIteratorTests } from '@keyv/test-suite'
import Keyv from 'keyv'
import { Keyv as Keyv6 } from 'keyv-6'
import t, { type Test } from 'tap'
import { type CacheNamespace, KeyvStore, KeyvStore6 } from '../../plugins/cache/index.ts'
import { onEveryStorage, type StorageKind } from '../fixtures/storages.ts'
import { freshCache } from '../plugins/cache/fixture.ts'

type Case = (context: { expect: Expect }) => unknown
interface Expect {
  (actual: unknown): Record<string, (expected?: unknown) => void>
  assertions(count: number): void
}

/** What the suite uses of vitest's matchers. */
function expectOf(t: Test): { expect: Expect; done(): void } {
  let made = 0
  let wanted: number | undefined
  const expect = (actual: unknown) => {
    made++
    return {
      toBe: (expected: unknown) => t.ok(Object.is(actual, expected), { actual, expected }),
      toEqual: (expected: unknown) => t.ok(isDeepStrictEqual(actual, expected), { actual, expected }),
      toBeTruthy: () => t.ok(actual),
      toBeFalsy: () => t.notOk(actual),
      toBeUndefined: () => t.equal(actual, undefined),
      toBeDefined: () => t.not(actual, undefined),
      toBeNull: () => t.equal(actual, null),
    }
  }
  const assertions = (count: number) => {
    wanted = count
  }
  return {
    expect: Object.assign(expect, { assertions }) as Expect,
    done() {
      if (wanted !== undefined) t.equal(made, wanted, 'as many assertions as announced')
    },
  }
}

/** Collects what the suite declares, and runs it one case after the other. */
class Collected {
  readonly cases: [name: string, run: Case][] = []
  readonly before: (() => unknown)[] = []
  readonly after: (() => unknown)[] = []
  readonly it = (name: string, run: Case) => this.cases.push([name, run])
  readonly beforeEach = (run: () => unknown) => this.before.push(run)
  readonly afterEach = (run: () => unknown) => this.after.push(run)

  leaveOut(name: string): void {
    const at = this.cases.findIndex(([each]) => each === name)
    if (at < 0) throw new Error(`there is no case ${name}`)
    this.cases.splice(at, 1)
  }

  async run(t: Test): Promise<void> {
    for (const [name, run] of this.cases) {
      await t.test(name, async (t) => {
        for (const prepare of this.before) await prepare()
        const { expect, done } = expectOf(t)
        await run({ expect })
        done()
        for (const clean of this.after) await clean()
      })
    }
  }
}

/** The suite with one version of Keyv, on one kind of storage. */
async function suite(t: Test, kind: StorageKind, Version: unknown, storeOn: (cache: CacheNamespace) => unknown) {
  const cache = (await freshCache(t, kind)).namespace('keyv')
  const suite = new Collected()
  keyvTestSuite(suite as never, Version as never, () => storeOn(cache) as never)
  keyvIteratorTests(suite as never, Version as never, () => storeOn(cache) as never)
  t.ok(suite.cases.length > 40, `${suite.cases.length} cases`)
  if (Version === Keyv6) for (const each of NOT_OF_KEYV_6) suite.leaveOut(each)
  await suite.run(t)
}

/** The suite is that of Keyv 5. Keyv 6 answers for each of the keys, and has no `opts`. */
const NOT_OF_KEYV_6 = [
  '.deleteMany([keys]) with nonexistent keys resolves to false',
  'value can be BigInt using other serializer/deserializer',
]

t.test('@keyv/test-suite with Keyv 5', (t) =>
  onEveryStorage(t, (t, kind) => suite(t, kind, Keyv, (cache) => new KeyvStore(cache))),
)

t.test('@keyv/test-suite with Keyv 6', (t) =>
  onEveryStorage(t, (t, kind) => suite(t, kind, Keyv6, (cache) => new KeyvStore6(cache))),
)

t.test('@keyv/test-suite with Keyv 6 over the store that is meant for Keyv 5', (t) =>
  suite(t, 'memory', Keyv6, (cache) => new KeyvStore(cache)),
)
