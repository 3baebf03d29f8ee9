import type { CloseCode } from '../../../openapi/messages/close-codes.ts'
import type { ErrorMessage } from '../../../openapi/messages/server.ts'
import { codeOfStatus } from '../../support/error-code.ts'
import { refusedAction } from '../../support/refused-action.ts'
import { StatefulError } from '../../support/stateful-error.ts'
import { filterOf } from '../channel/filter.ts'

/** What is known of a message that was refused; `connect` is the connection itself. */
export interface Refusable {
  readonly type?: string | undefined
  readonly space?: string | undefined
  readonly key?: string | undefined
  readonly prefix?: string | undefined
}

/** What a client is told of an error. */
interface Described {
  readonly code: string
  readonly message: string
  readonly status: number
  /** What the client may not do. */
  readonly action?: string
}

/** Turns errors into answers, as plugins/problems does over HTTP: the messages of server errors stay here. */
export class Refusals {
  readonly #onError: (error: unknown, what: string) => void

  /** @param onError told of those that are not the client's fault */
  constructor(onError: (error: unknown, what: string) => void) {
    this.#onError = onError
  }

  describe(error: unknown): Described {
    const { statusCode = 500, message = '' } = (error ?? {}) as Partial<Error> & { statusCode?: number }
    if (statusCode >= 500) this.#onError(error, 'a message failed')
    if (!(error instanceof StatefulError)) {
      // A middleware's way to refuse a write. Told as failed, it would be sent again and again.
      if (statusCode >= 400 && statusCode < 500) return { code: codeOfStatus(statusCode), message, status: statusCode }
      return { code: 'STATEFUL_INTERNAL', message: 'Something failed here.', status: 500 }
    }
    return {
      code: error.code,
      message: statusCode >= 500 ? 'The server could not do it now.' : message,
      status: statusCode,
      ...refusedAction(error),
    }
  }

  /** The answer to a message, or a connection, that is refused: it names what that was about, so that the client knows whose it is. */
  answer(error: unknown, { type, space, key, prefix }: Refusable): { answer: ErrorMessage; closeCode: CloseCode } {
    const { code, message, status, ...refused } = this.describe(error)
    return {
      answer: {
        type: 'error',
        code,
        message,
        ...refused,
        ...(type === undefined ? {} : { request: type }),
        ...(space === undefined ? {} : { space, ...filterOf({ key, prefix }) }),
        ...(mayPass(status) ? { retry: true } : {}),
      },
      closeCode: closeCodeOf(status),
    }
  }
}

/** Whether the same may succeed later. */
const mayPass = (status: number): boolean => status >= 500 || status === 429

/** How a connection ends whose only purpose is refused. */
function closeCodeOf(status: number): CloseCode {
  if (status === 401) return 4401
  if (status === 429 || status === 503) return 1013
  return status < 500 ? 1008 : 1011
}
