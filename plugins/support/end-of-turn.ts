let waiting: (() => void)[] = []

/**
 * Answers at the end of this turn of the event loop, together with all else that is asked in it.
 *
 * For what each request asks and memory could answer at once: requests of one turn that go on together, as they do
 * behind one command to Redis, take half the CPU time of a busy server that they take one by one. When each is answered
 * before the next one is read, each answer wakes its client.
 *
 * The continuation is in the context (AsyncLocalStorage) of its own request; `answer` need not be.
 */
export function atEndOfTurn<Result>(answer: () => Result): Promise<Result> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      try {
        resolve(answer())
      } catch (error) {
        reject(error)
      }
    }
    if (waiting.push(settle) === 1) setImmediate(settleAll)
  })
}

function settleAll(): void {
  const settled = waiting
  waiting = []
  for (const settle of settled) settle()
}
