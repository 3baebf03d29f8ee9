import type { SyncTraced } from '../../../openapi/schemas/sync.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import type { Clock, Timer } from '../../support/clock.ts'
import type { TraceSubject, Traces } from '../trace/traces.ts'

type Question = { from: string; id: number } & ({ subject: TraceSubject } | { end: true })

/** The instance of a viewer asks again and again, so that a trace ends with it; in milliseconds. */
const RENEW = 5_000
const LEASE = 15_000

interface Served {
  end: () => void
  lease: Timer
}

/**
 * Asks the other instances for what they see, over Redis. Nothing is stored, and nothing is sent while nobody looks.
 */
export class RedisTraces {
  readonly #storage: RedisStorage
  readonly #local: Traces
  readonly #clock: Clock
  /** The viewers on this instance, by the number of the question. */
  readonly #viewers = new Map<number, (event: SyncTraced) => void>()
  /** What others look at here; `Traces` bounds how many. */
  readonly #served = new Map<string, Served>()
  readonly #ending: (() => Promise<void>)[] = []
  #questions = 0

  constructor(storage: RedisStorage, local: Traces, clock: Clock) {
    this.#storage = storage
    this.#local = local
    this.#clock = clock
  }

  /** Resolves when this instance can ask and be asked. */
  async listen(): Promise<void> {
    const { channels, instanceId } = this.#storage
    const events = await channels.subscribe(this.#eventsOf(instanceId), (text) => {
      const { id, event } = JSON.parse(text) as { id: number; event: SyncTraced }
      this.#viewers.get(id)?.(event)
    })
    const questions = await channels.subscribe(this.#channel, (text) => {
      const question = JSON.parse(text) as Question
      if (question.from !== instanceId) this.#serve(question)
    })
    this.#ending.push(events, questions)
  }

  /** @returns ends it */
  watch(subject: TraceSubject, tell: (event: SyncTraced) => void): () => void {
    const { instanceId } = this.#storage
    const id = ++this.#questions
    const ask = () => this.#publish(this.#channel, { from: instanceId, id, subject } satisfies Question)
    this.#viewers.set(id, tell)
    ask()
    const renewing = this.#clock.every(RENEW, ask)
    return () => {
      renewing.cancel()
      this.#viewers.delete(id)
      this.#publish(this.#channel, { from: instanceId, id, end: true } satisfies Question)
    }
  }

  async close(): Promise<void> {
    for (const name of [...this.#served.keys()]) this.#stop(name)
    for (const end of this.#ending) await end()
  }

  #serve(question: Question): void {
    const { from, id } = question
    const name = `${from} ${id}`
    if ('end' in question) {
      this.#stop(name)
      return
    }
    let served = this.#served.get(name)
    if (served) served.lease.cancel()
    else {
      const tell = (event: SyncTraced) => this.#publish(this.#eventsOf(from), { id, event })
      try {
        served = { end: this.#local.watch(question.subject, tell), lease: { cancel() {} } }
      } catch {
        // Too many look already: this one sees the other instances.
        return
      }
      this.#served.set(name, served)
    }
    served.lease = this.#clock.after(LEASE, () => this.#stop(name))
  }

  #stop(name: string): void {
    const served = this.#served.get(name)
    this.#served.delete(name)
    served?.lease.cancel()
    served?.end()
  }

  /** What is lost is a message that is not shown. */
  #publish(channel: string, message: object): void {
    this.#storage.channels.publish(channel, JSON.stringify(message)).catch(() => {})
  }

  get #channel(): string {
    return `${this.#storage.prefix}sync-traces`
  }

  #eventsOf(instance: string): string {
    return `${this.#storage.prefix}sync-traces:${instance}`
  }
}
