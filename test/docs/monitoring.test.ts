import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { SCOPE } from '../../plugins/telemetry/operations.ts'
import { eventually } from '../fixtures/eventually.ts'

const root = new URL('../../', import.meta.url)
const document = await readFile(new URL('docs/monitoring.md', root), 'utf8')
const examples = [...document.matchAll(/^```js\n(.*?)^```/gms)].map(([, source]) => source as string)

t.test('the set-up of OpenTelemetry sends spans and metrics to a collector', async (t) => {
  const [setUp = '', channels = ''] = examples
  t.match(setUp, "from '@opentelemetry/api'")
  t.match(channels, 'tracingChannel(')
  const received = new Map<string, string>()
  const collector = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    received.set(request.url ?? '', (received.get(request.url ?? '') ?? '') + body)
    response.setHeader('content-type', 'application/json').end('{}')
  }).listen(0, '127.0.0.1')
  t.teardown(() => collector.close())
  await once(collector, 'listening')
  const { port } = collector.address() as AddressInfo

  // Within the package, so that its name and its devDependencies are found.
  const file = new URL(`test/docs/monitoring-${process.pid}.mjs`, root)
  t.teardown(() => rm(file, { force: true }))
  await writeFile(
    file,
    `${setUp.replace('port: 3000', "port: 0, host: '127.0.0.1'")}
     ${channels.replace('took > 100', 'took >= 0').replace('app.log.warn', 'console.log')}
     await fetch(\`http://127.0.0.1:\${app.addresses()[0].port}/report\`)
     await app.close()`,
  )
  const env = {
    ...process.env,
    SESSION_SECRET: randomBytes(32).toString('base64url'),
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
  }
  const child = execFile(process.execPath, [fileURLToPath(file)], { env, timeout: 30_000 })
  let output = ''
  child.stdout?.on('data', (chunk) => {
    output += chunk
  })
  child.stderr?.on('data', (chunk) => {
    output += chunk
  })
  const [code] = await once(child, 'exit')
  t.equal(code, 0, output)
  await eventually(() => received.size === 2)
  t.match(received.get('/v1/traces'), 'stateful.cache.load')
  t.match(received.get('/v1/traces'), SCOPE)
  t.match(received.get('/v1/metrics'), 'stateful.cache.loads')
  t.match(output, 'a slow loader')
})
