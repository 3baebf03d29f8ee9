import type { SyncNode } from '../../../openapi/schemas/sync.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import type { Clock } from '../../support/clock.ts'

/** The connections of one instance. */
export interface LocalNodes {
  nodes(): SyncNode[]
  /** @returns whether there was such a node here */
  disconnect(id: string, reason: string): boolean
}

/** Live connections of several instances. */
export interface ClusterNodes {
  nodes: SyncNode[]
  /** Instances that listen but did not answer in time: they are paused, or just died. */
  unanswered: number
}

type Question = { from: string; number: number } & (
  | { ask: 'nodes' }
  | { ask: 'disconnect'; node: string; reason: string }
)
interface Answer {
  number: number
  nodes?: SyncNode[]
  disconnected?: boolean
}

/** An administrator waits for it; a live instance answers within some milliseconds. */
const ANSWER_DEADLINE = 1_000

/**
 * Asks the other instances about their connections, over Redis. Nothing is stored: who does not answer is not there.
 */
export class RedisNodes {
  readonly #storage: RedisStorage
  readonly #local: LocalNodes
  readonly #clock: Clock
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  readonly #ending: (() => Promise<void>)[] = []
  #questions = 0

  constructor(storage: RedisStorage, local: LocalNodes, clock: Clock) {
    this.#storage = storage
    this.#local = local
    this.#clock = clock
  }

  /** Resolves when this instance can ask and be asked. */
  async listen(): Promise<void> {
    const { channels, instanceId } = this.#storage
    const answers = await channels.subscribe(this.#answersTo(instanceId), (text) => {
      const answer = JSON.parse(text) as Answer
      this.#waiting.get(answer.number)?.(answer)
    })
    const questions = await channels.subscribe(this.#channel, (text) => {
      const question = JSON.parse(text) as Question
      if (question.from === instanceId) return
      // The instance that asked goes on without an answer that is lost.
      channels.publish(this.#answersTo(question.from), JSON.stringify(this.#answer(question))).catch(() => {})
    })
    this.#ending.push(answers, questions)
  }

  async close(): Promise<void> {
    for (const end of this.#ending) await end()
  }

  /** @throws STATEFUL_STORAGE_UNAVAILABLE */
  async nodes(): Promise<ClusterNodes> {
    const { answers, unanswered } = await this.#ask({ ask: 'nodes' }, () => false)
    return {
      nodes: answers.flatMap(({ nodes }) => (Array.isArray(nodes) ? nodes.filter(isNode).map(complete) : [])),
      unanswered,
    }
  }

  /**
   * @returns whether another instance had such a node
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  async disconnect(node: string, reason: string): Promise<boolean> {
    const found = ({ disconnected }: Answer) => disconnected === true
    const { answers } = await this.#ask({ ask: 'disconnect', node, reason }, found)
    return answers.some(found)
  }

  #answer(question: Question): Answer {
    const { number } = question
    if (question.ask === 'nodes') return { number, nodes: this.#local.nodes() }
    return { number, disconnected: this.#local.disconnect(question.node, question.reason) }
  }

  async #ask(
    question: { ask: 'nodes' } | { ask: 'disconnect'; node: string; reason: string },
    enough: (answer: Answer) => boolean,
  ): Promise<{ answers: Answer[]; unanswered: number }> {
    const { channels, instanceId } = this.#storage
    const number = ++this.#questions
    const answers: Answer[] = []
    // Until Redis has said how many were reached.
    let expected = Number.POSITIVE_INFINITY
    let done = () => {}
    const complete = new Promise<void>((resolve) => {
      done = resolve
    })
    const deadline = this.#clock.after(ANSWER_DEADLINE, done)
    this.#waiting.set(number, (answer) => {
      answers.push(answer)
      if (answers.length >= expected || enough(answer)) done()
    })
    try {
      const text = JSON.stringify({ ...question, from: instanceId, number } satisfies Question)
      expected = (await channels.publish(this.#channel, text)) - 1
      if (answers.length >= expected) done()
      await complete
      return { answers, unanswered: Math.max(expected - answers.length, 0) }
    } finally {
      deadline.cancel()
      this.#waiting.delete(number)
    }
  }

  get #channel(): string {
    return `${this.#storage.prefix}sync-nodes`
  }

  #answersTo(instance: string): string {
    return `${this.#storage.prefix}sync-nodes:${instance}`
  }
}

/** An earlier version counts no bytes. */
const complete = (node: SyncNode): SyncNode => ({
  ...node,
  sentBytes: node.sentBytes ?? 0,
  receivedBytes: node.receivedBytes ?? 0,
})

/** Another instance may be of another version: what it tells goes to an administrator, by a schema. */
function isNode(value: unknown): value is SyncNode {
  const node = (value ?? {}) as Partial<SyncNode>
  const texts = [node.id, node.instance, node.clientId, node.transport, node.connectedAt, node.lastSeen, node.address]
  const counts = [node.subscriptions, node.lag, node.buffered]
  return (
    texts.every((text) => typeof text === 'string') && counts.every(Number.isSafeInteger) && Array.isArray(node.spaces)
  )
}
