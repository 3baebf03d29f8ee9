import type { PresenceMember } from '../../../openapi/messages/server.ts'
import { evenWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { nonFinitePlace } from '../../support/json.ts'
import type { PresenceExchange } from '../presence/presence.ts'

// A list in the place of the last one, whether somebody came or left: as long as connections are open, and gone with
// them. An instance that could not renew it would be taken for dead, with all who are there.
const script = RedisScript.fromFile(new URL('./presence.lua', import.meta.url), evenWhenFull)

/**
 * Presence over Redis. Each instance keeps its own list alive; one that died is taken out by the next instance that
 * looks after its lifetime. Messages are only hints: the lists are read again at each refresh.
 */
export class RedisPresence implements PresenceExchange {
  readonly #storage: RedisStorage
  readonly #lifetime: number
  readonly #versions = new Map<string, string>()
  #unlisten: (() => Promise<void>) | undefined

  /** @param lifetime milliseconds after which a silent instance counts as dead; several refreshes */
  constructor(storage: RedisStorage, lifetime: number) {
    this.#storage = storage
    this.#lifetime = lifetime
  }

  async exchange(space: string, members: PresenceMember[], changed: boolean): Promise<PresenceMember[] | undefined> {
    const text = JSON.stringify(members)
    const answer =
      (await this.#run(space, changed || members.length === 0 ? text : '')) ?? (await this.#run(space, text))
    if (!answer) return undefined
    const [version, entries] = answer
    this.#versions.set(space, `${version}`)
    if (!entries) return undefined
    const others: PresenceMember[] = []
    for (let index = 0; index + 1 < entries.length; index += 2) {
      if (entries[index] === this.#storage.instanceId) continue
      others.push(...membersOf(entries[index + 1] as string))
    }
    return others
  }

  #run(space: string, members: string): Promise<[number, string[]?] | null> {
    const { prefix, client, instanceId } = this.#storage
    const tag = `${prefix}{presence:${space}}`
    const keys = [`${tag}:members`, `${tag}:alive`, `${tag}:version`]
    const args = [instanceId, this.#lifetime, members, this.#versions.get(space) ?? '']
    return script.run(client, keys, args) as Promise<[number, string[]?] | null>
  }

  async announce(space: string): Promise<void> {
    const { channels, instanceId } = this.#storage
    await channels.publish(this.#channel, JSON.stringify([instanceId, space]))
  }

  async listen(changed: (space: string) => void): Promise<void> {
    const { channels, instanceId } = this.#storage
    this.#unlisten = await channels.subscribe(this.#channel, (message) => {
      const [from, space] = JSON.parse(message) as [string, string]
      if (from !== instanceId) changed(space)
    })
  }

  async close(): Promise<void> {
    await this.#unlisten?.()
  }

  get #channel(): string {
    return `${this.#storage.prefix}presence`
  }
}

/** A list that cannot be read is that of one instance: the others are there all the same. */
function membersOf(text: string): PresenceMember[] {
  try {
    const members = JSON.parse(text) as unknown
    return Array.isArray(members) && nonFinitePlace(members) === undefined ? members.filter(isMember) : []
  } catch {
    return []
  }
}

function isMember(value: unknown): value is PresenceMember {
  const { node, clientId, connectedAt } = (value ?? {}) as Partial<PresenceMember>
  return typeof node === 'string' && typeof clientId === 'string' && Number.isSafeInteger(connectedAt)
}
