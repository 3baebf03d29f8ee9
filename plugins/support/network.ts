import ipaddr from 'ipaddr.js'

/** Bytes of an IPv6 address that a provider hands out as one piece (RFC 6177): a household has 2^64 addresses. */
const SITE_BYTES = 8

/**
 * What limits count an address by: an IPv4 address as it is, also inside IPv6 (`::ffff:192.0.2.1`, NAT64), and of any
 * other IPv6 address its /64. Zones (`%eth0`) are left out. What is no address counts as itself.
 *
 * @example `networkOf('2001:db8:1:2:3::4')` is `'2001:db8:1:2::/64'`
 */
export function networkOf(address: string): string {
  const [bare = ''] = address.split('%')
  if (!ipaddr.isValid(bare)) return address
  const parsed = ipaddr.process(bare)
  if (parsed instanceof ipaddr.IPv4) return parsed.toString()
  const bytes = parsed.toByteArray()
  // Behind such a translator all of IPv4 lies in one /64.
  if (parsed.range() === 'rfc6052') return bytes.slice(-4).join('.')
  const site = [...bytes.slice(0, SITE_BYTES), ...new Array<number>(bytes.length - SITE_BYTES).fill(0)]
  return `${ipaddr.fromByteArray(site).toString()}/64`
}
