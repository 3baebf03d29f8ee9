import type { Test } from 'tap'
import type { InstanceStats } from '../../openapi/schemas/stats.ts'
import type { Board } from '../../plugins/stats/stores/board.ts'

export interface BoardFixture {
  board: Board
  /** Other instances on the same storage; undefined when the storage cannot have any. */
  another?: () => Promise<Board>
  /** Lets what was not renewed run out. */
  expire?: () => Promise<void>
}

/** What every board promises to the instances of an application. */
export async function boardSuite(t: Test, create: (t: Test) => Promise<BoardFixture>): Promise<void> {
  const numbers = (name: string): InstanceStats => ({
    instance: name,
    at: '2026-01-01T00:00:00.000Z',
    unavailable: [],
    process: { uptime: 1.5, note: 'äöü \u0000 "quoted" 1 2' } as unknown as InstanceStats['process'],
  })

  t.test('an instance does not read itself', async (t) => {
    const { board } = await create(t)
    t.same(await board.others(), [])
    await board.publish(numbers('one'))
    t.same(await board.others(), [])
    await board.withdraw()
    await board.withdraw()
  })

  t.test('instances read each other’s latest numbers', async (t) => {
    const { board, another } = await create(t)
    if (!another) return
    const [second, third] = [await another(), await another()]
    await board.publish(numbers('stale'))
    await board.publish(numbers('one'))
    await second.publish(numbers('two'))
    const [{ age, ...one } = {}] = await second.others()
    t.same(one, numbers('one'), 'exactly as they were written')
    t.ok(age !== undefined && age >= 0 && age < 10_000, `${age} ms old`)
    t.same((await third.others()).map(({ instance }) => instance).sort(), ['one', 'two'])
  })

  t.test('an instance that closes is gone at once, one that dies after its lifetime', async (t) => {
    const { board, another, expire } = await create(t)
    if (!another || !expire) return
    const second = await another()
    await board.publish(numbers('one'))
    await board.withdraw()
    t.same(await second.others(), [])
    await board.publish(numbers('one'))
    await expire()
    t.same(await second.others(), [])
    const third = await another()
    await third.publish(numbers('three'))
    const instances = (await second.others()).map(({ instance }) => instance)
    t.same(instances, ['three'], 'and it does not come back when another renews its own')
  })
}
