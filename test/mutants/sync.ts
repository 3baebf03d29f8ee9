import type { Mutant } from '../checkers/mutation.ts'

/** The guards of the synchronisation. Switching any one off must turn its suite red. */
export default [
  {
    file: 'plugins/sync/channel.ts',
    from: 'if (since.epoch !== this.#epoch || since.revision > this.#revision) return undefined',
    to: 'if (since.revision > this.#revision) return undefined',
    suite: 'test/plugins/sync/synchronisation.test.ts',
    guards: 'a position of another epoch is not continued from memory',
  },
  {
    file: 'plugins/sync/channel.ts',
    from: 'if (since.epoch !== this.#epoch || since.revision > this.#revision) return undefined',
    to: 'if (since.epoch !== this.#epoch) return undefined',
    suite: 'test/plugins/sync/synchronisation.test.ts',
    guards: 'a position of a lost future gets a full sync',
  },
  {
    file: 'plugins/sync/channel.ts',
    from: 'if (subscription.log && position) {',
    to: 'if (subscription.log && !position) {',
    suite: 'test/plugins/sync/limits.test.ts',
    guards: 'a log subscription is never conflated',
  },
  {
    file: 'plugins/sync/connection.ts',
    from: 'return this.transport.buffered > this.#mostBuffered',
    to: 'return this.transport.buffered > this.#mostBuffered * 1_000',
    suite: 'test/chaos/flood.test.ts',
    guards: 'nothing is queued for a stalled reader',
  },
  {
    file: 'plugins/sync/hub.ts',
    from: 'if (connection.identity.sessionHandle === sessionHandle) this.endSession(connection, reason)',
    to: 'if (connection.id === sessionHandle) this.endSession(connection, reason)',
    suite: 'test/plugins/sync/lifecycle.test.ts',
    guards: 'a revoked session takes its connections with it',
  },
  {
    file: 'plugins/sync/watchdog.ts',
    from: "if (verdict === 'changed') connection.end",
    to: 'if (connection.ended) connection.end',
    suite: 'test/routes/sync/sessions.test.ts',
    guards: 'another role means another connection',
  },
  {
    file: 'plugins/sync/origin.ts',
    from: 'if (origin === undefined) return true',
    to: "if (origin === undefined || origin === 'null') return true",
    suite: 'test/plugins/sync/origin.test.ts',
    guards: 'a page without an origin of its own is foreign',
  },
  {
    file: 'plugins/sync/stores/redis-nodes.ts',
    from: 'if (question.from === instanceId) return',
    to: "if (question.from === '') return",
    suite: 'test/routes/sync/administration.test.ts',
    guards: 'every connection is listed once',
  },
  {
    file: 'client/replica.ts',
    from: 'if (change.prev === revision) {',
    to: 'if (change.revision > revision) {',
    suite: 'test/client/resilience.test.ts',
    guards: 'a replica applies only what continues it',
  },
] satisfies Mutant[]
