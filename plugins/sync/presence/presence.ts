import type { PresenceMember } from '../../../openapi/messages/server.ts'
import type { Json } from '../../../openapi/schemas/state.ts'
import { type Client, ClientLimits } from '../../support/client-limits.ts'
import type { Timer } from '../../support/clock.ts'
import { TooManyAtOnceError } from '../../support/errors.ts'
import type { SyncSettings } from '../options.ts'
import { type Frame, frame } from '../transports/frame.ts'

/** Tells instances of each other's members. Without one, presence is that of this instance. */
export interface PresenceExchange {
  /**
   * Publishes the members of this instance and reads those of the others that are alive.
   * @param changed whether the members are others than at the last call for this space
   * @returns `undefined`: nothing changed anywhere since the last call for this space
   */
  exchange(space: string, members: PresenceMember[], changed: boolean): Promise<PresenceMember[] | undefined>
  /** Tells the others that there is something new. */
  announce(space: string): Promise<void>
  /** `changed` runs when another instance announces something. Resolves when it listens. */
  listen(changed: (space: string) => void): Promise<void>
  close(): Promise<void>
}

/** A attendee, as others in a space see it. */
export interface Attendee {
  readonly id: string
  readonly clientId: string
  readonly connectedAt: number
  readonly identity: Client
  readonly isFull: boolean
  send(frame: Frame): void
}

interface Room {
  readonly local: Map<string, PresenceMember>
  remote: PresenceMember[]
  readonly watchers: Set<Attendee>
  /** What the watchers know. */
  told: Map<string, string>
  /** The local members have changed since they were published. */
  dirty: boolean
  pending: Timer | undefined
  exchanging: boolean
  /** Something happened during the exchange that it may have missed. */
  again: boolean
}

/** Changes of so many milliseconds are told together: people who come and go at once are one message. */
const GATHER = 50

/**
 * Who follows which space, over all instances. Every follower of a space is present in it; those who ask are told
 * who is there, and then who came and who left. It is no log: a slow client gets the present list when it can.
 *
 *     absent ── follows ──▶ present ── asks ──▶ watching ── says that it leaves, or is gone ──▶ absent
 *                              └── follows nothing of the space any more ──▶ absent
 *
 * A client that asked stays, no matter what it follows. A room is told and exchanged by one update at a time: `pending`
 * is the next,
 * `exchanging` the one under way, `again` asks for another after it, and `dirty` stays until the others have it.
 */
export class Presence {
  readonly #settings: SyncSettings
  readonly #exchange: PresenceExchange | undefined
  readonly #onError: (error: unknown, what: string) => void
  readonly #rooms = new Map<string, Room>()
  /** Where each is, and how to give back the count of one that asked. */
  readonly #places = new Map<Attendee, Map<string, (() => void) | undefined>>()
  readonly #asked: ClientLimits
  /** Watchers whose socket was full: they get the whole list. */
  readonly #behind = new Map<Attendee, Set<string>>()
  #refresher: Timer | undefined

  constructor(
    settings: SyncSettings,
    exchange: PresenceExchange | undefined,
    onError: (error: unknown, what: string) => void,
  ) {
    this.#settings = settings
    this.#exchange = exchange
    this.#onError = onError
    this.#asked = new ClientLimits('presences', {
      total: Number.POSITIVE_INFINITY,
      perUser: settings.maxPresencesPerUser,
      perSession: settings.maxPresencesPerSession,
    })
  }

  async start(): Promise<void> {
    if (!this.#exchange) return
    await this.#exchange.listen((space) => {
      const room = this.#rooms.get(space)
      if (room) this.#later(space, room)
    })
    this.#refresher = this.#settings.clock.every(this.#settings.presenceInterval, () => {
      for (const [space, room] of this.#rooms) this.#later(space, room)
    })
  }

  async close(): Promise<void> {
    this.#refresher?.cancel()
    for (const room of this.#rooms.values()) room.pending?.cancel()
    this.#rooms.clear()
    await this.#exchange?.close()
  }

  /** Those of other instances only of spaces that are followed here. */
  members(space: string): PresenceMember[] {
    const room = this.#rooms.get(space)
    return room ? [...room.local.values(), ...room.remote] : []
  }

  /** A connection follows a space. */
  enter(attendee: Attendee, space: string): void {
    const places = this.#placesOf(attendee)
    if (!places.has(space)) places.set(space, undefined)
    const room = this.#room(space)
    if (room.local.has(attendee.id)) return
    room.local.set(attendee.id, memberOf(attendee))
    this.#changed(space, room)
  }

  /**
   * A connection wants to know who is there, and to be seen with its data.
   * @throws STATEFUL_TOO_MANY_AT_ONCE
   */
  watch(attendee: Attendee, space: string, data: unknown): void {
    this.#countAsked(attendee, space)
    const room = this.#room(space)
    const known = room.local.get(attendee.id)
    if (!known || JSON.stringify(known.data) !== JSON.stringify(data)) {
      room.local.set(attendee.id, { ...memberOf(attendee), ...(data === undefined ? {} : { data: data as Json }) })
      this.#changed(space, room)
    }
    if (room.watchers.has(attendee)) return
    room.watchers.add(attendee)
    this.#tellAll(attendee, space, room)
  }

  #countAsked(attendee: Attendee, space: string): void {
    const places = this.#placesOf(attendee)
    if (places.get(space)) return
    const { maxPresences } = this.#settings
    let asked = 0
    for (const giveBack of places.values()) if (giveBack) asked++
    if (asked >= maxPresences) throw new TooManyAtOnceError(maxPresences, 'presences')
    places.set(space, this.#asked.take(attendee.identity))
  }

  /** A connection follows nothing of a space any more. Who asked to be present is that until it says otherwise. */
  unfollow(attendee: Attendee, space: string): void {
    if (!this.#places.get(attendee)?.get(space)) this.leave(attendee, space)
  }

  /** A connection does not want to be seen in a space any more, although it may go on following it. */
  leave(attendee: Attendee, space: string): void {
    const places = this.#places.get(attendee)
    places?.get(space)?.()
    places?.delete(space)
    if (places?.size === 0) this.#places.delete(attendee)
    const room = this.#rooms.get(space)
    if (!room) return
    room.watchers.delete(attendee)
    if (room.local.delete(attendee.id)) this.#changed(space, room)
  }

  leaveAll(attendee: Attendee): void {
    this.#behind.delete(attendee)
    for (const space of [...(this.#places.get(attendee)?.keys() ?? [])]) this.leave(attendee, space)
    this.#places.delete(attendee)
  }

  #placesOf(attendee: Attendee): Map<string, (() => void) | undefined> {
    const known = this.#places.get(attendee)
    if (known) return known
    const places = new Map<string, (() => void) | undefined>()
    this.#places.set(attendee, places)
    return places
  }

  /** The socket of a connection has room again. */
  drained(attendee: Attendee): void {
    const spaces = this.#behind.get(attendee)
    if (!spaces) return
    this.#behind.delete(attendee)
    for (const space of spaces) {
      const room = this.#rooms.get(space)
      if (room?.watchers.has(attendee)) this.#tellAll(attendee, space, room)
    }
  }

  #room(space: string): Room {
    let room = this.#rooms.get(space)
    if (!room) {
      room = {
        local: new Map(),
        remote: [],
        watchers: new Set(),
        told: new Map(),
        dirty: true,
        pending: undefined,
        exchanging: false,
        again: false,
      }
      this.#rooms.set(space, room)
    }
    return room
  }

  #changed(space: string, room: Room): void {
    room.dirty = true
    this.#later(space, room)
  }

  #later(space: string, room: Room): void {
    room.pending ??= this.#settings.clock.after(GATHER, () => {
      room.pending = undefined
      this.#update(space, room).catch((error: unknown) => this.#onError(error, 'presence could not be exchanged'))
    })
  }

  async #update(space: string, room: Room): Promise<void> {
    this.#tellChanges(space, room)
    if (this.#exchange && room.exchanging) room.again = true
    else if (this.#exchange) {
      room.exchanging = true
      const { dirty } = room
      room.dirty = false
      try {
        const others = await this.#exchange.exchange(space, [...room.local.values()], dirty)
        if (others) {
          room.remote = others
          this.#tellChanges(space, room)
        }
        if (dirty) await this.#exchange.announce(space)
      } catch (error) {
        // What was not published is published at the next refresh.
        room.dirty ||= dirty
        throw error
      } finally {
        room.exchanging = false
        if (room.again) this.#later(space, room)
        room.again = false
      }
    }
    if (room.local.size === 0 && room.watchers.size === 0 && !room.dirty && !room.pending) this.#rooms.delete(space)
  }

  #tellChanges(space: string, room: Room): void {
    const now = new Map(this.members(space).map((member) => [member.node, JSON.stringify(member)]))
    const joined = [...now].filter(([node, text]) => room.told.get(node) !== text)
    const left = [...room.told.keys()].filter((node) => !now.has(node))
    room.told = now
    if (room.watchers.size === 0 || (joined.length === 0 && left.length === 0)) return
    const message = frame({
      type: 'presence',
      space,
      joined: joined.map(([, text]) => JSON.parse(text) as PresenceMember),
      left,
    })
    for (const attendee of room.watchers) this.#tell(attendee, space, message)
  }

  #tellAll(attendee: Attendee, space: string, room: Room): void {
    this.#tell(attendee, space, frame({ type: 'presence', space, members: this.members(space) }))
    // The others learn of a newcomer by the next changes, which this one then gets as well: harmless, for a
    // member that is known already is only replaced.
    if (room.told.size === 0) this.#later(space, room)
  }

  #tell(attendee: Attendee, space: string, message: Frame): void {
    if (!attendee.isFull) {
      attendee.send(message)
      return
    }
    const spaces = this.#behind.get(attendee) ?? new Set()
    this.#behind.set(attendee, spaces.add(space))
  }
}

function memberOf({ id, clientId, connectedAt, identity: { userId } }: Attendee): PresenceMember {
  return { node: id, clientId, ...(userId === undefined ? {} : { userId }), connectedAt }
}
