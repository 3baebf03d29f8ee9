import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import t from 'tap'
import { networkOf } from '../../../plugins/support/network.ts'

t.test('what one site has is one network, however it is written', async (t) => {
  const networks: [string[], string][] = [
    [['192.0.2.1', '::ffff:192.0.2.1', '::ffff:c000:201', '::FFFF:192.0.2.1%eth0', '64:ff9b::192.0.2.1'], '192.0.2.1'],
    [['2001:db8:1:2::1', '2001:DB8:1:2:ffff:ffff:ffff:ffff', '2001:0db8:0001:0002::'], '2001:db8:1:2::/64'],
    [['fe80::1', 'fe80::1%eth0', 'fe80::2%25en1'], 'fe80::/64'],
    [['::1'], '::/64'],
    [['a socket'], 'a socket'],
    [[''], ''],
  ]
  for (const [addresses, network] of networks) {
    for (const address of addresses) t.equal(networkOf(address), network, address)
  }
  t.not(networkOf('2001:db8:1:2::1'), networkOf('2001:db8:1:3::1'))
  t.not(networkOf('64:ff9b::192.0.2.1'), networkOf('64:ff9b::192.0.2.2'))
})

t.test('of any two IPv6 addresses, the first eight bytes decide', async () => {
  const bytes = (length: number) => fc.array(fc.integer({ min: 0, max: 255 }), { minLength: length, maxLength: length })
  // 2000::/3, where the addresses of sites are.
  const site = bytes(8).map(([first = 0, ...rest]) => [0x20 | (first & 0x1f), ...rest])
  fc.assert(
    fc.property(site, bytes(8), bytes(8), (network, one, other) => {
      const written = (host: number[]) => ipaddr.fromByteArray([...network, ...host]).toString()
      return networkOf(written(one)) === networkOf(written(other))
    }),
  )
})
