import { connect, type Socket } from 'node:net'
import { exchange } from './exchange.ts'
import { type Attack, type Hostile, judgedExchange } from './hostile.ts'
import { frame, openHostileSocket } from './socket-frames.ts'

const waiting = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })

const headers = (hostile: Hostile) =>
  [`Host: 127.0.0.1:${hostile.target.port}`, ...(hostile.cookie() === '' ? [] : [`Cookie: ${hostile.cookie()}`])].join(
    '\r\n',
  )

function open(hostile: Hostile): Socket {
  const { target } = hostile
  const socket = connect({ ...target, ...(target.from ? { localAddress: target.from } : {}) })
  socket.on('error', () => {})
  return socket
}

async function held(hostile: Hostile, sockets: Socket[], ms: number): Promise<void> {
  await waiting(ms, hostile.over)
  for (const socket of sockets) socket.resetAndDestroy()
}

/** Hundreds of connections that say nothing, or never finish what they say, or never read what they asked for. */
export const idleSockets: Attack = {
  name: 'idle sockets',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const { random } = hostile
    const count = random.integer(100, 300)
    const sockets: Socket[] = []
    for (let index = 0; index < count && !hostile.over.aborted; index++) {
      const socket = open(hostile)
      const kind = random.pick(['silent', 'half a request', 'half a body', 'half-open'])
      if (kind === 'half a request') socket.write('GET /profile HTTP/1.1\r\nHost: x\r\nX-')
      if (kind === 'half a body') {
        socket.write('POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{')
      }
      if (kind === 'half-open') socket.end()
      sockets.push(socket)
    }
    await held(hostile, sockets, 2_000)
  },
}

/** Requests that come one byte a while (slowloris), many at a time. */
export const dribbles: Attack = {
  name: 'dribbles',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const { random } = hostile
    const sockets = Array.from({ length: random.integer(20, 100) }, () => {
      const socket = open(hostile)
      socket.write('POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{')
      return socket
    })
    for (let round = 0; round < 20 && !hostile.over.aborted; round++) {
      for (const socket of sockets) socket.write(' ')
      await waiting(100, hostile.over)
    }
    await held(hostile, sockets, 0)
  },
}

/** Guessed passwords, of the attacker's own accounts and of others', many at a time. */
export const logins: Attack = {
  name: 'logins',
  weight: 2,
  heavy: true,
  async run(hostile) {
    const { random, contract } = hostile
    const operation = contract.operations.find(({ id }) => id === 'login')
    const attempts = Array.from({ length: random.integer(10, 60) }, () => {
      const username = random.pick([
        'mallory-1',
        'honest-1',
        'honest-2',
        'ﬁne',
        'nobody',
        `nobody-${random.integer(0, 1e6)}`,
      ])
      const body = JSON.stringify({ username, password: `guess ${random.integer(0, 1e6)}` })
      const from = hostile.target.from ? { from: `127.0.0.${random.integer(10, 200)}` } : {}
      const request = `POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
      return judgedExchange({ ...hostile, target: { ...hostile.target, ...from } }, [request], {
        operation,
        where: 'flood of logins',
        deadline: 30_000,
      })
    })
    await Promise.all(attempts)
  },
}

/** More messages than one connection may send. */
export const messageFlood: Attack = {
  name: 'message flood',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const { random } = hostile
    const socket = await openHostileSocket(hostile)
    socket.on('data', () => {})
    for (let seq = 1; seq <= 3_000 && !socket.destroyed && !hostile.over.aborted; seq++) {
      const ops = [{ op: 'set', key: random.pick(['a', 'b', 'c']), value: seq }]
      const message = random.pick<object>([
        { type: 'write', seq, ops },
        { type: 'heartbeat' },
        { type: 'syncRequest', space: 'hostile-1' },
      ])
      socket.write(frame(JSON.stringify(message)))
      if (seq % 100 === 0) await waiting(5, hostile.over)
    }
    socket.destroy()
  },
}

/** Requests that wait for a commit which does not come. */
export const longPolls: Attack = {
  name: 'long polls',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const sockets = Array.from({ length: hostile.random.integer(50, 200) }, () => {
      const socket = open(hostile)
      socket.write(`GET /state/changes?space=hostile-2&since=999999&wait=25000 HTTP/1.1\r\n${headers(hostile)}\r\n\r\n`)
      return socket
    })
    await held(hostile, sockets, 1_500)
  },
}

/** Large answers that are asked for and never read. */
export const unreadSnapshots: Attack = {
  name: 'unread snapshots',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const { random } = hostile
    const value = JSON.stringify({ value: 'x'.repeat(200_000) })
    for (let index = 0; index < 8; index++) {
      const request = `PUT /state/keys/large-${index}?space=hostile-2 HTTP/1.1\r\n${headers(hostile)}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${value.length}\r\n\r\n`
      await exchange(hostile.target, [request, value])
    }
    const path = random.pick(['/state/snapshot?space=hostile-2', '/sync/events?space=hostile-2', '/openapi.json'])
    const sockets = Array.from({ length: random.integer(20, 60) }, () => {
      const socket = open(hostile)
      socket.pause()
      socket.write(`GET ${path} HTTP/1.1\r\n${headers(hostile)}\r\n\r\n`.repeat(3))
      return socket
    })
    await held(hostile, sockets, 2_000)
  },
}

/** Sockets that follow a space that changes, and do not read. */
export const stalledFollowers: Attack = {
  name: 'stalled followers',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => openHostileSocket(hostile)))
    for (const socket of sockets) socket.pause()
    await held(hostile, sockets, 2_000)
  },
}

/** Names that nobody has used before: whatever is made for each of them must be bounded. */
export const newNames: Attack = {
  name: 'new names',
  weight: 1,
  heavy: true,
  async run(hostile) {
    const { random, contract } = hostile
    for (let index = 0; index < 80 && !hostile.over.aborted; index++) {
      const name = `junk-${random.integer(0, 1e9)}`
      const [id, target] = random.pick([
        ['getState', `/state?space=${name}`],
        ['getStateKey', `/state/keys/a?space=${name}`],
        ['getCacheEntry', `/cache/entries/a?namespace=${name}`],
        ['getCacheEntry', `/cache/entries/${name}?namespace=hostile-1`],
      ])
      await judgedExchange(hostile, [`GET ${target} HTTP/1.1\r\n${headers(hostile)}\r\nConnection: close\r\n\r\n`], {
        operation: contract.operations.find((operation) => operation.id === id),
        where: 'new names',
      })
    }
  },
}
