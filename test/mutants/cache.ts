import type { Mutant } from '../checkers/mutation.ts'

const races = 'test/plugins/cache/races.test.ts'
const instances = 'test/plugins/cache/instances.test.ts'
const stores = 'test/plugins/cache/stores.test.ts'
const breaker = 'test/plugins/cache/breaker.test.ts'
const keyv = 'test/plugins/cache/keyv-store.test.ts'
const writeBehind = 'test/plugins/cache/write-behind.test.ts'

export default [
  {
    guards: 'the lease check: a load that an invalidation overtook is not stored',
    file: 'plugins/cache/stores/local.ts',
    from: 'this.#lease(namespace, key)?.token !== token || !this.#stand(namespace, stamps)',
    to: '!this.#stand(namespace, stamps)',
    suite: races,
  },
  {
    guards: 'the lease check on Redis',
    file: 'plugins/cache/stores/fill.lua',
    from: "redis.call('GET', base .. 'l:' .. ARGV[4]) ~= ARGV[5] or not stampsStand(8)",
    to: 'not stampsStand(8)',
    suite: instances,
  },
  {
    guards: 'the stamps of a fill: a load that an invalidation by tag overtook is not stored',
    file: 'plugins/cache/stores/local.ts',
    from: 'return stamps.every(([name, value]) => this.#shelf.stamp(namespace, name) === value)',
    to: 'return true',
    suite: races,
  },
  {
    guards: 'the stamps of a fill on Redis',
    file: 'plugins/cache/stores/fill.lua',
    from: '~= ARGV[5] or not stampsStand(8)',
    to: '~= ARGV[5]',
    suite: instances,
  },
  {
    guards: 'the epoch fence: what was on its way when an invalidation was heard stays out of the first level',
    file: 'plugins/cache/levels.ts',
    from: 'if (era !== this.#era || asOf < (this.#heard[stripe(key)] as number)) return',
    to: '',
    suite: races,
  },
  {
    guards: 'the detection of gaps',
    file: 'plugins/cache/coherence.ts',
    from: 'if (message.seq === this.#seq + 1) {',
    to: 'if (message.seq > this.#seq) {',
    suite: races,
  },
  {
    guards: 'a message that comes again is dropped',
    file: 'plugins/cache/coherence.ts',
    from: 'if (message.seq <= this.#seq) return',
    to: '',
    suite: races,
  },
  {
    guards: 'the beat sees what the bus has lost',
    file: 'plugins/cache/coherence.ts',
    from: '} else if (head.seq <= this.#seq) {',
    to: '} else if (head.seq <= this.#seq || head.seq > 0) {',
    suite: races,
  },
  {
    guards: 'the age of the proof',
    file: 'plugins/cache/levels.ts',
    from: '(now >= this.coherence.until && !this.#excused(now))',
    to: 'false',
    suite: races,
  },
  {
    guards: 'stamps are unique: one that was lost does not come back',
    file: 'plugins/cache/stores/local.ts',
    from: 'const made = ',
    to: "const made = '0:start' || ",
    suite: races,
  },
  {
    guards: 'stamps are unique on Redis',
    file: 'plugins/cache/stores/stamps.lua',
    from: "string.format('%d:%s', named, fresh)",
    to: "'0:start'",
    suite: races,
  },
  {
    guards: 'generations are unique on Redis',
    file: 'plugins/cache/stores/head.lua',
    from: "'0:' .. fresh",
    to: "'0:start'",
    suite: races,
  },
  {
    guards: 'nobody joins a load from before',
    file: 'plugins/cache/loads.ts',
    from: 'levels.watch((message) => this.#overtake(message))',
    to: '',
    suite: races,
  },
  {
    guards: 'tags that only the loader knew are as old as the load',
    file: 'plugins/cache/loads.ts',
    from: 'if (epoch !== lease.epoch || since.some((seq) => seq > lease.seq)) return undefined',
    to: '',
    suite: 'test/plugins/cache/cache.test.ts',
  },
  {
    guards: 'a failed invalidation is no success',
    file: 'plugins/cache/stores/breaker.ts',
    from: 'if (!this.#options.journal) throw error',
    to: '',
    suite: instances,
  },
  {
    guards: 'a rate of errors opens the circuit',
    file: 'plugins/cache/stores/breaker.ts',
    from: 'const FORGIVEN = 0.5',
    to: 'const FORGIVEN = 1_000',
    suite: breaker,
  },
  {
    guards: 'an answer after its deadline is a failure',
    file: 'plugins/cache/stores/breaker.ts',
    from: 'if (!running.late && this.#failures > 0)',
    to: 'if (this.#failures > 0)',
    suite: breaker,
  },
  {
    guards: 'kept invalidations are carried out before the circuit closes',
    file: 'plugins/cache/stores/breaker.ts',
    from: '      await this.#catchUp()\n',
    to: '      void this.#catchUp()\n',
    suite: breaker,
  },
  {
    guards: 'a kept invalidation opens the circuit at once',
    file: 'plugins/cache/stores/breaker.ts',
    from: '      // Until it has been carried out nothing may be read from the store.\n      this.#open()\n',
    to: '',
    suite: breaker,
  },
  {
    guards: 'what a tag has removed does not count as deleted',
    file: 'plugins/cache/stores/invalidate.lua',
    from: 'if isThere(key) then removed = removed + 1 end',
    to: 'removed = removed + 1',
    suite: stores,
  },
  {
    guards: 'a Keyv namespace that looks like a pattern is cleared alone',
    file: 'plugins/cache/keyv-store.ts',
    from: 'if (!hasWildcard(namespace)) {',
    to: 'if (namespace) {',
    suite: keyv,
  },
  {
    guards: 'a failing handler is given its pause',
    file: 'plugins/cache/write-behind.ts',
    from: 'this.#timer = clock.after(due - now,',
    to: 'this.#timer = clock.after(ms,',
    suite: writeBehind,
  },
  {
    guards: 'what waits is handed over at close',
    file: 'plugins/cache/write-behind.ts',
    from: '    this.#timer?.cancel()\n    await this.drain()\n',
    to: '    this.#timer?.cancel()\n',
    suite: writeBehind,
  },
  {
    guards: 'while the store is gone the first level is still there',
    file: 'plugins/cache/coherence.ts',
    from: 'this.#tier.onInterrupted(() => this.#doubt())',
    to: "this.#tier.onInterrupted(() => this.#lose('', 0))",
    suite: instances,
  },
] satisfies Mutant[]
