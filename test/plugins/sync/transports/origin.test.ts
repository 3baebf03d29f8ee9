import t from 'tap'
import { isAllowedOrigin } from '../../../../plugins/sync/transports/origin.ts'

t.test('only whole origins count', async (t) => {
  const allowed = ['https://app.example']
  const host = 'api.example:3000'
  for (const origin of ['https://app.example', 'http://api.example:3000', 'https://api.example:3000', undefined]) {
    t.ok(isAllowedOrigin(origin, host, allowed), `${origin}`)
  }
  for (const origin of [
    'null',
    '',
    'https://app.example.evil',
    'https://evil-app.example',
    'https://app.example:444',
    'http://api.example',
    'http://api.example:3000.evil',
    'file://api.example:3000',
    'chrome-extension://api.example:3000',
  ]) {
    t.notOk(isAllowedOrigin(origin, host, allowed), origin)
  }
})

t.test('default ports are the same as none', async (t) => {
  t.ok(isAllowedOrigin('https://api.example', 'api.example:443', []))
  t.ok(isAllowedOrigin('http://api.example:80', 'api.example', []))
  t.notOk(isAllowedOrigin('http://api.example', undefined, []))
})
