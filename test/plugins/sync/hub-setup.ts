import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Json, Op } from '../../../openapi/schemas/state.ts'
import type { Client } from '../../../plugins/support/client-limits.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import type { Connection } from '../../../plugins/sync/connection/connection.ts'
import type { Identity } from '../../../plugins/sync/connection/identity.ts'
import { SyncHub } from '../../../plugins/sync/hub.ts'
import type { SyncSettings } from '../../../plugins/sync/options.ts'
import { settingsOf } from '../../../plugins/sync/options.ts'
import { FakeTransport } from './fake-transport.ts'
import { MemorySpace } from './memory-space.ts'

export const settings: SyncSettings = {
  ...settingsOf({}),
  heartbeatInterval: 1_000,
  highWaterMark: 1_000,
  slowDeadline: 5_000,
  closeTimeout: 100,
  maxPayload: 1_000_000,
  maxConnections: 10,
  maxSubscriptions: 4,
  maxQueuedMessages: 16,
  maxRefusals: 3,
  recentCommits: 100,
  recentCharacters: 100_000,
  clock: new ManualClock(),
}

/** A hub on spaces in memory, with peers that read when the test says so. */
export async function setUp(t: Test, changed: Partial<SyncSettings> = {}) {
  const clock = new ManualClock()
  const spaces = new Map<string, MemorySpace>()
  const errors: unknown[] = []
  const borrowed = new Map<object, Client>()
  const space = (name = 'app') => {
    const known = spaces.get(name) ?? new MemorySpace(name)
    spaces.set(name, known)
    return known
  }
  const hub = new SyncHub({
    settings: { ...settings, clock, ...changed },
    instance: 'here',
    space: (name, client) => {
      const loan = { space: space(name), release: () => borrowed.delete(loan) }
      borrowed.set(loan, client)
      return loan
    },
    onError: (error) => errors.push(error),
  })
  await hub.start()
  const peers: Connection[] = []
  t.teardown(async () => {
    const closed = hub.close()
    for (const connection of peers) hub.closed(connection, 1001)
    await closed
  })
  const connect = (identity: Partial<Identity> = {}) => {
    const transport = new FakeTransport()
    const connection = hub.connect(transport, { address: '127.0.0.1', authorize: async () => {}, ...identity })
    peers.push(connection)
    const send = async (message: object) => {
      connection.receive(JSON.stringify(message))
      await settle()
    }
    return { transport, connection, send }
  }
  const follow = async (filter: { key?: string; prefix?: string } = {}, identity: Partial<Identity> = {}) => {
    const peer = connect(identity)
    await peer.send({ type: 'subscribe', space: 'app', ...filter })
    return peer
  }
  return { clock, hub, space, borrowed, connect, follow, errors }
}

/** Lets queued messages, flushes and what follows from them happen. */
export async function settle() {
  for (let turns = 0; turns < 4; turns++) await turn()
}

/** The most common operation. */
export const set = (key: string, value: Json): Op => ({ op: 'set', key, value })
