import type { Case, Context } from '../../harness.ts'
import { inMemory, type Opener } from './contenders.ts'

const ROUND = 200

/** A key is deleted while its load is under way: what the source said before must not be there afterwards. */
export const deletedWhileLoading: Case = {
  name: 'deleted while it is loaded, in memory',
  unit: 'keys/s',
  better: 'higher',
  contenders: inMemory.map((opener) => ({
    name: opener.name,
    role: opener.role === 'limit' ? ('peer' as const) : opener.role,
    packages: opener.packages ?? [],
    setup: (context) => races(opener, context),
  })),
}

async function races(opener: Opener, context: Context) {
  const subject = await opener.open(context)
  let made = 0
  let loading: Promise<unknown> | undefined
  return async () => {
    let keys = 0
    let stale = 0
    const started = performance.now()
    do {
      for (let n = 0; n < ROUND; n++) {
        const key = `raced:${made++}`
        let source = { version: 1 }
        let finish = () => {}
        const begun = new Promise<void>((begin) => {
          const load = async () => {
            const read = source
            begin()
            await new Promise<void>((resolve) => {
              finish = resolve
            })
            return read
          }
          // lru-cache rejects the load that it was told to forget.
          loading = subject.getOrSet(key, load).catch(() => {})
        })
        await begun
        source = { version: 2 }
        await subject.delete(key)
        finish()
        await loading
        const found = (await subject.getOrSet(key, () => source)) as { version: number } | undefined
        if (found?.version !== source.version) stale++
        await subject.delete(key)
        keys++
      }
    } while (performance.now() - started < (context.quick ? 20 : 300))
    return { value: (keys * 1_000) / (performance.now() - started), faults: { stale } }
  }
}
