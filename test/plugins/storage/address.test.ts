import t from 'tap'
import { redisAddress } from '../../../plugins/storage/redis/address.ts'

t.test('a URL names one server, nodes of a Cluster, or Sentinels', async (t) => {
  t.same(redisAddress('redis://h:1/2'), { kind: 'server', url: 'redis://h:1/2' })
  t.same(redisAddress('redis+cluster://a:1,b,[::1]:3'), {
    kind: 'cluster',
    nodes: [
      { host: 'a', port: 1 },
      { host: 'b', port: 6379 },
      { host: '::1', port: 3 },
    ],
    login: {},
  })
  t.same(redisAddress('rediss+cluster://ada:p%40ss@a:1'), {
    kind: 'cluster',
    nodes: [{ host: 'a', port: 1 }],
    login: { username: 'ada', password: 'p@ss', tls: {} },
  })
  t.same(redisAddress('redis+sentinel://:secret@a,b:2/mymaster/3'), {
    kind: 'sentinel',
    options: {
      password: 'secret',
      sentinels: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 2 },
      ],
      name: 'mymaster',
      db: 3,
    },
  })
})

t.test('another one is refused without repeating what may be a password', async (t) => {
  const wrong = [
    'redis+cluster://',
    'redis+cluster://a:b',
    'redis+cluster://a/name',
    'redis+sentinel://a',
    'redis+x://a',
  ]
  for (const url of [...wrong, 'redis+cluster://:secret@a:1,', 'redis+cluster://:secret@a:99999']) {
    const error = t.throws(() => redisAddress(url), { code: 'STATEFUL_INVALID_OPTION' }, url) as unknown as Error
    t.notMatch(error.message, /secret/)
  }
})
