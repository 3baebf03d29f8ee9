/**
 * Whether a page of this origin may connect. Browsers do not apply the same-origin policy to WebSockets, so
 * without this check every page in the world could read with the cookie of its visitor.
 *
 * Origins are compared whole (scheme, host and port), never by prefix or suffix. No origin at all means that it
 * is no browser (or a proxy that drops the header, which then must do this check itself).
 *
 * @param host the host that the request was made to
 */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[],
): boolean {
  if (origin === undefined) return true
  if (!URL.canParse(origin)) return false
  const { origin: normal, host: originHost, protocol } = new URL(origin)
  if (allowed.includes(normal)) return true
  // Behind a TLS proxy the scheme of the request is not that of the page, so same host is enough.
  return (protocol === 'http:' || protocol === 'https:') && host !== undefined && originHost === hostOf(host, protocol)
}

function hostOf(host: string, protocol: string): string | undefined {
  return URL.canParse(`${protocol}//${host}`) ? new URL(`${protocol}//${host}`).host : undefined
}
