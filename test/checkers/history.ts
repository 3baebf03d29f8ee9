/** What became of an operation, as its caller knows it. */
export type Outcome =
  /** It was acknowledged. */
  | 'ok'
  /** It certainly did not and will not take effect (refused before anything was written). */
  | 'fail'
  /** A timeout, a lost connection: it may have taken effect, may do so at any later time, or never. */
  | 'unknown'

/** One call to the system under test. Times are of any unit, but of one clock for the whole history. */
export interface Operation<Op> {
  process: string | number
  op: Op
  invoke: number
  /** When it was answered; required for `ok`. */
  return?: number
  outcome: Outcome
  /** What it answered. Checked for `ok` when the property is present; leave it out where an answer says nothing. */
  result?: unknown
}

/**
 * Records what concurrent clients of one process see. Time is a counter: two events of one process have an order,
 * and no clock can blur it.
 */
export class HistoryRecorder<Op> {
  readonly #operations: Operation<Op>[] = []
  readonly #classify: (error: unknown) => Exclude<Outcome, 'ok'>
  #time = 0

  /** @param classify says whether an error proves that nothing happened; by default no error does */
  constructor(classify: (error: unknown) => Exclude<Outcome, 'ok'> = () => 'unknown') {
    this.#classify = classify
  }

  get operations(): readonly Operation<Op>[] {
    return this.#operations
  }

  /** Runs and records one operation. Resolves to its outcome rather than rejecting: a fault is data here. */
  async run(process: string | number, op: Op, perform: () => Promise<unknown>): Promise<Operation<Op>> {
    // Unknown until it is answered: a history taken while operations are pending is then still a true one.
    const operation: Operation<Op> = { process, op, invoke: this.#time++, outcome: 'unknown' }
    this.#operations.push(operation)
    try {
      operation.result = await perform()
      operation.outcome = 'ok'
    } catch (error) {
      operation.outcome = this.#classify(error)
    }
    operation.return = this.#time++
    return operation
  }
}
