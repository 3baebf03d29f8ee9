import type { Op, Position } from '../../../openapi/schemas/state.ts'
import { Frame } from '../transports/frame.ts'
import type { FullSync } from './full-sync.ts'
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

/** Names a subscription within its connection. A space's name holds no blanks. */
export function subscriptionId(space: string, filter: TopicFilter): string {
  return `${space} ${topicId(filter)}`
}

/** Only the parts that are given, for `exactOptionalPropertyTypes`. */
export function filterOf({ key, prefix }: { key?: string | undefined; prefix?: string | undefined }): TopicFilter {
  return { ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
}

/**
 * One part of a space with its followers. Its changes form a chain of their own: each names the revision before
 * it *within the topic*, so that a follower of one key notices a gap although it never hears of other keys.
 */
export class Topic {
  readonly id: string
  readonly space: string
  readonly filter: TopicFilter
  readonly subscriptions = new Set<Subscription>()
  /** The end of the chain: what the next change will name as `prev`. */
  revision: number
  /** The epoch that the end of the chain belongs to, for those who got it. */
  epoch: string
  pending: Outgoing[] = []
  /** The latest content that was asked for, while it is the present one or somebody is amid it. */
  fullSync: FullSync | undefined
  /** What all frames of the topic have in common. */
  readonly head: string

  constructor(space: string, filter: TopicFilter, { epoch, revision }: Position) {
    this.id = topicId(filter)
    this.space = space
    this.filter = filter
    this.epoch = epoch
    this.revision = revision
    const { key, prefix } = filter
    const part = { space, ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
    this.head = JSON.stringify(part).slice(1, -1)
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

  stateChange(epoch: string, changes: Outgoing[], since?: Position): Frame {
    const from = since ? `"since":${JSON.stringify(since)},` : ''
    const texts = changes.map(({ text }) => text).join(',')
    return new Frame(
      `{"type":"stateChange",${this.head},"epoch":${JSON.stringify(epoch)},${from}"changes":[${texts}]}`,
      `${epoch}.${changes[changes.length - 1]?.revision ?? this.revision}`,
    )
  }
}

export function outgoing(prev: number, revision: number, opsText: string, clientId?: string, seq?: number): Outgoing {
  const author =
    clientId === undefined ? '' : `,"clientId":${JSON.stringify(clientId)}${seq === undefined ? '' : `,"seq":${seq}`}`
  const text = `{"prev":${prev},"revision":${revision},"ops":${opsText}${author}}`
  return { prev, revision, opsText, clientId, seq, text }
}
