import { spawn } from 'node:child_process'
import t from 'tap'
import { answering, atFreePort, startRedis } from '../fixtures/redis-server.ts'

t.test('a server whose port was taken before it is not mistaken for the one that took it', async (t) => {
  const first = await startRedis(t)
  const second = spawn('redis-server', ['--port', `${first.port}`, '--bind', '127.0.0.1'], { stdio: 'ignore' })
  await t.rejects(answering(first.port, second), /did not start/)
  t.ok(second.exitCode !== null || second.signalCode !== null, 'and has ended')
  t.equal(first.process().exitCode, null)
})

t.test('a start that fails is tried at two other ports', async (t) => {
  const tried: number[] = []
  const port = await atFreePort(async (port) => {
    if (tried.push(port) < 3) throw new Error('taken')
  })
  t.same([tried.length, new Set(tried).size, tried.at(-1)], [3, 3, port])
  const failing = () => Promise.reject(new Error('taken for good'))
  await t.rejects(atFreePort(failing), { message: 'taken for good' })
})
