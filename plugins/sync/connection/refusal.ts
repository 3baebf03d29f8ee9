import type { CloseCode } from '../../../openapi/messages/close-codes.ts'
import type { ErrorMessage } from '../../../openapi/messages/server.ts'
import { filterOf } from '../channel/topic.ts'

/** What is known of a message that was refused; `connect` is the connection itself. */
export interface Refusable {
  readonly type?: string | undefined
  readonly space?: string | undefined
  readonly key?: string | undefined
  readonly prefix?: string | undefined
}

/** The answer to a message that was refused: it names what that was about, so that the client knows whose it is. */
export function errorMessage(
  { code, message, status }: { code: string; message: string; status: number },
  { type, space, key, prefix }: Refusable,
): ErrorMessage {
  return {
    type: 'error',
    code,
    message,
    ...(type === undefined ? {} : { request: type }),
    ...(space === undefined ? {} : { space, ...filterOf({ key, prefix }) }),
    ...(mayPass(status) ? { retry: true } : {}),
  }
}

/** Whether the same may succeed later. */
const mayPass = (status: number): boolean => status >= 500 || status === 429

/** How a connection ends whose only purpose is refused; `undefined` for a failure of the server. */
export function closeCodeOf(status: number): CloseCode | undefined {
  if (status === 401) return 4401
  if (status === 429 || status === 503) return 1013
  return status < 500 ? 1008 : undefined
}
