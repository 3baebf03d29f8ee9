import type { Json, Op } from '../../openapi/schemas/state.ts'
import type { Frame } from './frame.ts'
import type { Subscription } from './subscription.ts'

/** The part of a space that a subscription follows. Neither: all of it. */
export interface TopicFilter {
  key?: string
  prefix?: string
}

/** A change as it goes out, serialised once. */
export interface Outgoing {
  readonly prev: number
  readonly revision: number
  readonly text: string
  readonly opsText: string
  readonly clientId: string | undefined
  readonly seq: number | undefined
}

/** Tells topics of one space apart; also the name a client's subscription is found by. */
export function topicId(filter: TopicFilter): string {
  if (filter.key !== undefined) return `k${filter.key}`
  if (filter.prefix !== undefined) return `p${filter.prefix}`
  return ''
}

/**
 * One part of a space with its followers. Its changes form a chain of their own: each names the revision before
 * it *within the topic*, so that a follower of one key notices a gap although it never hears of other keys.
 */
export class Topic {
  readonly id: string
  readonly space: string
  readonly filter: TopicFilter
  /** Everything of a frame that comes before the epoch. */
  readonly head: string
  readonly subscriptions = new Set<Subscription>()
  /** The end of the chain: what the next change will name as `prev`. */
  revision: number
  pending: Outgoing[] = []
  /** The full sync of the present revision, made at the first demand and shared until the next commit. */
  fullSync: Frame | undefined

  constructor(space: string, filter: TopicFilter, revision: number) {
    this.space = space
    this.id = topicId(filter)
    this.filter = filter
    this.revision = revision
    this.head = `"space":${JSON.stringify(space)},${filter.key === undefined ? '' : `"key":${JSON.stringify(filter.key)},`}${filter.prefix === undefined ? '' : `"prefix":${JSON.stringify(filter.prefix)},`}`
  }

  get whole(): boolean {
    return this.id === ''
  }

  matches(key: string): boolean {
    if (this.filter.key !== undefined) return key === this.filter.key
    return this.filter.prefix === undefined || key.startsWith(this.filter.prefix)
  }

  /** The operations that concern this topic; the same array when all do. */
  select(ops: Op[]): Op[] {
    return this.whole || ops.every((op) => this.matches(op.key)) ? ops : ops.filter((op) => this.matches(op.key))
  }

  selectState(state: Record<string, Json>): Record<string, Json> {
    if (this.whole) return state
    return Object.fromEntries(Object.entries(state).filter(([key]) => this.matches(key)))
  }
}

export function outgoing(prev: number, revision: number, opsText: string, clientId?: string, seq?: number): Outgoing {
  const author =
    clientId === undefined ? '' : `,"clientId":${JSON.stringify(clientId)}${seq === undefined ? '' : `,"seq":${seq}`}`
  return {
    prev,
    revision,
    opsText,
    clientId,
    seq,
    text: `{"prev":${prev},"revision":${revision},"ops":${opsText}${author}}`,
  }
}
