/** The suite that Keyv's own adapters have to pass, run through ours. It was written for vitest: this stands in for it. */
import { isDeepStrictEqual } from 'node:util'
import keyvTestSuite, { keyvIteratorTests } from '@keyv/test-suite'
import Keyv from 'keyv'
import t, { type Test } from 'tap'
import { KeyvStore } from '../../../../plugins/cache/adapters/keyv.ts'
import { onEveryStorage } from '../../../fixtures/storages.ts'
import { freshCache } from '../fixture.ts'

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

t.test('@keyv/test-suite', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = (await freshCache(t, kind)).namespace('keyv')
    const suite = new Collected()
    keyvTestSuite(suite as never, Keyv, () => new KeyvStore(cache))
    keyvIteratorTests(suite as never, Keyv, () => new KeyvStore(cache))
    t.ok(suite.cases.length > 40, `${suite.cases.length} cases`)
    await suite.run(t)
  }),
)
