/** A value, or what gives it whenever it is needed: it may have changed since. */
export type Given<T> = T | (() => T | Promise<T>)

/** What the application gives for each connection and each request. */
export interface Asked {
  token?: Given<string | undefined> | undefined
  headers?: Given<{ [name: string]: string }> | undefined
  query?: Given<{ [name: string]: string }> | undefined
}

/** What a connection is opened with. */
export interface Credentials {
  readonly url: string
  readonly protocols?: string[]
  readonly headers?: { [name: string]: string }
}

export async function askAll({ token, headers, query }: Asked) {
  return { token: await ask(token), headers: (await ask(headers)) ?? {}, query: (await ask(query)) ?? {} }
}

/** A page cannot set headers of a WebSocket: the token goes as a subprotocol, which no log of URLs holds. */
export async function connectionCredentials(address: string, asked: Asked): Promise<Credentials> {
  const { token, headers, query } = await askAll(asked)
  const url = new URL(address)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return { url: url.href, headers, protocols: token === undefined ? [] : ['stateful', `bearer.${base64url(token)}`] }
}

const ask = async <T>(value: Given<T> | undefined) =>
  typeof value === 'function' ? (value as () => T | Promise<T>)() : value

const base64url = (text: string) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
