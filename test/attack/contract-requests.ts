import type { Random } from '../fixtures/random.ts'
import type { Operation } from './contract.ts'
import { Generator } from './generate.ts'
import { type Attack, type Hostile, judgedExchange } from './hostile.ts'

/** How a request is meant. */
type Intent = 'valid' | 'nearly valid' | 'hostile'

const TYPES = [
  ...['application/json', 'application/json; charset=utf-8', 'application/json;charset=utf-16', 'application/json\ta'],
  ...['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/problem+json'],
  ...['APPLICATION/JSON', 'application/json, text/plain', ' application/json', 'json', '/', '', 'a/b;'.repeat(100)],
]

/** Header lines that a client may send and that have hurt somebody once. */
const HEADERS = [
  ...[
    'Accept: */*',
    'Accept: application/x-ndjson',
    'Accept: text/event-stream',
    'Accept: ,;q=x',
    'Accept-Encoding: x',
  ],
  ...['If-Match: *', 'If-Match: "1"', 'If-Match: W/"x', 'If-None-Match: *', 'If-None-Match: ""', 'Range: bytes=0-1,-1'],
  ...['Origin: null', 'Origin: http://evil.example', 'Sec-Fetch-Site: cross-site', 'Content-Encoding: gzip'],
  ...[
    'Cookie: sid=',
    'Cookie: sid=a.b; sid=c',
    'Cookie: =;;;',
    'Cookie: sid="%ff"',
    `Cookie: sid=${'x'.repeat(4_000)}`,
  ],
  ...['X-Forwarded-For: 1.2.3.4, ::1', 'X-Forwarded-Host: evil', 'X-HTTP-Method-Override: DELETE', 'X-Csrf-Token: .'],
  ...['Accept-Version: 9', 'Last-Event-ID: x', 'Last-Event-ID: 1:x.9999999999999999', 'Authorization: Basic ====='],
  ...[
    'Upgrade: websocket\r\nConnection: upgrade',
    'Upgrade: h2c',
    'Traceparent: x',
    `X-Request-Id: ${'a'.repeat(2_000)}`,
  ],
  ...['Host: evil.example', 'User-Agent: \x01', 'User-Agent: \xff\xfe', `User-Agent: ${'u'.repeat(3_000)}`],
]

const TEXTS = [
  ...['', ' ', '%00', '%', '%ff', '%e2%28%a1', '%ed%a0%80', '..', '../..', '%2e%2e%2f', '%2F', 'a%0d%0aSet-Cookie:x=1'],
  ...['null', 'undefined', 'NaN', '1e999', '-1', '9'.repeat(40), '0x10', '__proto__', 'constructor', 'a b', '\u00e9'],
  ...['x'.repeat(513), 'x'.repeat(3_000), '%F0%9F%92%A9'.repeat(130), '*'.repeat(200), '$where', '{{7*7}}', "' OR 1=1"],
]

const BODIES: readonly (string | Buffer)[] = [
  ...[
    '',
    ' ',
    '{',
    '[',
    '"',
    'null',
    'true',
    '1e999',
    '{"a":}',
    '{"a":1,}',
    '\ufeff{}',
    "{'a':1}",
    'NaN',
    '[1,]',
    '{}x',
  ],
  ...['{"__proto__":{}}', '{"constructor":{"prototype":{}}}', '{"value":{"__proto__":null}}', '{"value":1e999}'],
  ...['['.repeat(5_000), '{"a":'.repeat(5_000), `${'['.repeat(100_000)}${']'.repeat(100_000)}`, '1'.repeat(100_000)],
  `{"value":"${'x'.repeat(300_000)}"}`,
  `{"value":"${'x'.repeat(1_100_000)}"}`,
  Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
  Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
]

async function askOneOperation(hostile: Hostile): Promise<void> {
  const { random, contract } = hostile
  const operation = random.pick(contract.operations)
  const intent = random.pick<Intent>(['valid', 'nearly valid', 'nearly valid', 'hostile'])
  const generator = new Generator(contract, random)
  const cookie = random.chance(0.9) && operation.id !== 'logout' ? hostile.cookie() : ''
  const lines = [`Host: 127.0.0.1:${hostile.target.port}`, 'Connection: close']
  if (cookie !== '') lines.push(`Cookie: ${cookie}`)
  if (intent === 'hostile' || random.chance(0.2)) {
    for (let times = random.integer(1, 3); times > 0; times--) {
      const line = random.pick(HEADERS)
      // Two of these are for raw-http.ts.
      if (!(line.startsWith('Host:') || (cookie !== '' && line.startsWith('Cookie:')))) lines.push(line)
    }
  }
  const body = bodyOf(operation, intent, generator, random)
  if (body !== undefined) {
    lines.push(`Content-Type: ${intent === 'hostile' ? random.pick(TYPES) : 'application/json'}`)
    lines.push(`Content-Length: ${Buffer.byteLength(body)}`)
  }
  const head = operation.method === 'GET' && operation.id !== 'streamState' && random.chance(0.05)
  const target = targetOf(operation, intent, generator, random)
  const request = `${head ? 'HEAD' : operation.method} ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
  const { answers } = await judgedExchange(hostile, [Buffer.from(request, 'latin1'), ...(body ? [body] : [])], {
    // A parameter with a slash in it makes it another path.
    operation: meant(operation, target) ? operation : undefined,
    head,
    headersOnly: operation.id === 'streamState',
    // A header or a target that is no HTTP may end the connection at once.
    mayClose: intent === 'hostile',
  })
  if (cookie !== '' && answers[0]?.status === 401 && operation.id !== 'login') hostile.loggedOut()
}

function bodyOf(
  operation: Operation,
  intent: Intent,
  generator: Generator,
  random: Random,
): string | Buffer | undefined {
  if (!operation.body) return intent === 'hostile' && random.chance(0.2) ? random.pick(BODIES) : undefined
  if (intent === 'valid') return JSON.stringify(generator.valid(operation.body))
  if (intent === 'nearly valid') return generator.nearlyValid(operation.body)
  return random.chance(0.7) ? random.pick(BODIES) : generator.hostile()
}

function targetOf(operation: Operation, intent: Intent, generator: Generator, random: Random): string {
  const wrong = () => intent !== 'valid' && random.chance(intent === 'hostile' ? 0.4 : 0.15)
  const value = ({ name, schema }: Operation['parameters'][number]) =>
    wrong() ? random.pick(TEXTS) : encodeURIComponent(String(generator.valid(schema, name)))
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const parameter = operation.parameters.find((other) => other.in === 'path' && other.name === name)
    // An empty one would make it another path.
    return (parameter && value(parameter)) || 'a'
  })
  const query = operation.parameters
    .filter((parameter) => parameter.in === 'query' && (parameter.required || intent !== 'valid' || random.chance(0.5)))
    .flatMap((parameter) => {
      const pair = `${parameter.name}=${value(parameter)}`
      return wrong() ? [pair, pair] : [pair]
    })
  if (wrong()) query.push(random.pick(['x=1', '__proto__=1', '%ff=%ff', '?', '&&&', 'space[]=a', 'a'.repeat(2_000)]))
  // The defaults name the honest users' things nowhere, and yet: the attacker stays in its own.
  for (const name of ['space', 'namespace']) {
    const known = operation.parameters.some((parameter) => parameter.in === 'query' && parameter.name === name)
    if (known && !query.some((pair) => pair.startsWith(`${name}=`))) query.push(`${name}=hostile-1`)
  }
  const target = query.length === 0 ? path : `${path}?${query.join('&')}`
  return target.replaceAll(' ', '%20')
}

/** Whether the path of the target is one of the operation's. */
function meant({ path }: Operation, target: string): boolean {
  return target.split('?')[0]?.split('/').length === path.split('/').length
}

/** Requests made from the contract, from right ones to hostile ones. */
export const contractRequests: Attack = {
  name: 'contract',
  weight: 60,
  sends: 'requests',
  run: askOneOperation,
}
