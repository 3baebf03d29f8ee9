/** What is known of a request by its answer; gone with the request. */
const codes = new WeakMap<object, string>()

/** The request was answered with a problem of this code. */
export function rememberCode(request: object, code: string): void {
  codes.set(request, code)
}

/** The code of the problem that the request was answered with; `undefined` when it was answered otherwise. */
export function answeredCode(request: object): string | undefined {
  return codes.get(request)
}
