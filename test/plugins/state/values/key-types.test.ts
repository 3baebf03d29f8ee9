import t from 'tap'
import type { Op } from '../../../../openapi/schemas/state.ts'
import { testState, until } from '../../../fixtures/state.ts'

interface Note {
  text: string
  tags: string[]
}

// As an application declares them, which does so for 'fastify-stateful'. One program holds all tests: names of our own.
declare module '../../../../plugins/state/values/key-types.ts' {
  interface StateKeyTypes {
    'typed:likes': number
    'typed:title': string
    'typed:notes': Note[]
    'typed:settings'?: { theme: 'dark' | 'light'; size: number }
    [note: `typed:note:${string}`]: Note
  }
}

const misfit = { code: 'STATEFUL_STATE_TYPE_MISMATCH' }

t.test('declared keys take the operations of their types and give values of them; others any JSON', async (t) => {
  const { state } = await testState(t)
  const note: Note = { text: 'x', tags: [] }

  const likes: number = await state.increment('typed:likes', 2)
  await state.set('typed:title', 'x')
  // @ts-expect-error no number
  await t.rejects(state.increment('typed:title'), misfit)

  const notes: Note[] = await state.append('typed:notes', note)
  // @ts-expect-error another element
  await state.append('typed:notes', { text: 'y' })
  // @ts-expect-error no list
  await t.rejects(state.append('typed:likes', 1), misfit)

  const settings: { theme: 'dark' | 'light'; size: number } | undefined = await state.merge('typed:settings', {
    size: 1,
  })
  const merged: Note = await state.merge('typed:note:1', { text: 'y' })
  // @ts-expect-error another theme
  await state.merge('typed:settings', { theme: 'blue' })
  // @ts-expect-error no such field
  await state.merge('typed:note:1', { author: 'ada' })
  // @ts-expect-error no object
  await t.rejects(state.merge('typed:likes', {}), misfit)
  // @ts-expect-error a list is none
  await t.rejects(state.merge('typed:notes', {}), misfit)

  const read: Note | undefined = await state.read('typed:note:1')
  const entry: Note | undefined = state.entry('typed:note:1')?.value
  // @ts-expect-error another type
  await state.compareAndSet('typed:likes', 0, 'many')
  t.same([likes, notes[0], settings, merged.text], [2, note, { size: 1 }, 'y'])
  t.same([read?.text, entry?.text], ['y', 'y'])

  await state.set('any', 'x')
  await state.append('list', { any: 1 })
  await state.merge('fields', { any: [1] })
  const count: number = await state.increment('count')
  t.equal(count, 1)
  t.equal(await state.delete('any'), true)
  t.equal(await state.delete('typed:likes'), true)
})

t.test('so do transactions and commits', async (t) => {
  const { state } = await testState(t)
  const note: Note = { text: 'x', tags: [] }
  const likes: number | undefined = await state.transaction((tx) => {
    tx.set('typed:note:1', note)
    tx.append('typed:notes', note)
    tx.setAdd('typed:notes', note)
    tx.setRemove('typed:notes', note)
    tx.merge('typed:note:1', { text: 'y' })
    tx.increment('typed:likes')
    tx.increment('count')
    tx.delete('typed:title')
    const found: Note | undefined = tx.get('typed:note:1')
    t.same(found, { ...note, text: 'y' })
    // @ts-expect-error another type
    tx.set('typed:likes', 'many')
    // @ts-expect-error no list
    t.throws(() => tx.append('typed:likes', 1), misfit)
    // @ts-expect-error no list
    t.throws(() => tx.setAdd('typed:likes', 1), misfit)
    // @ts-expect-error no object
    t.throws(() => tx.merge('typed:likes', {}), misfit)
    // @ts-expect-error no number
    t.throws(() => tx.increment('typed:notes'), misfit)
    tx.set('typed:likes', 1)
    return tx.get('typed:likes')
  })
  t.equal(likes, 1)
  await state.commit([
    { op: 'set', key: 'typed:note:2', value: note },
    { op: 'increment', key: 'typed:likes' },
    { op: 'merge', key: 'typed:settings', value: { theme: 'dark' } },
    { op: 'append', key: 'other', value: { any: 1 } },
    { op: 'delete', key: 'typed:title' },
  ])
  const unknown: Op[] = [{ op: 'set', key: 'a', value: 1 }]
  await state.commit(unknown)
  // @ts-expect-error another type
  await state.commit([{ op: 'set', key: 'typed:likes', value: 'many' }])
  // @ts-expect-error no number
  await t.rejects(state.apply({ op: 'increment', key: 'typed:notes' }), misfit)
})

t.test('and whoever follows', async (t) => {
  const { state } = await testState(t)
  const heard: (number | string | undefined)[] = []
  state.on('change:typed:likes', ({ key, value, previous }) => {
    const typed: 'typed:likes' = key
    const [now, before]: (number | undefined)[] = [value, previous]
    heard.push(typed, now, before)
  })
  state.on('delete:typed:likes', ({ previous }) => {
    const typed: number | undefined = previous
    heard.push(typed)
  })
  state.subscribe('typed:note:*', ({ value }) => heard.push(value?.text))
  state.subscribe('typed:title', ({ value }) => heard.push(value?.length))
  state.subscribe('*', ({ value }) => {
    // @ts-expect-error of which type it is nobody knows
    heard.includes(value?.text)
  })
  const texts: (string | undefined)[] = []
  const watching = (async () => {
    for await (const event of state.watch('typed:note:')) {
      if (event.type !== 'commit') continue
      for (const op of event.ops) if (op.op === 'set' || op.op === 'merge') texts.push(op.value.text)
      // @ts-expect-error no operation of such keys
      for (const op of event.ops) texts.push(op.op === 'increment' ? 'never' : undefined)
      return
    }
  })()
  await state.set('typed:likes', 1)
  await state.set('typed:title', 'four')
  await state.set('typed:note:1', { text: 'x', tags: [] })
  await state.delete('typed:likes')
  await until(state, () => !state.has('typed:likes'))
  await watching
  t.same(heard, ['typed:likes', 1, undefined, 4, 'x', 1])
  t.same(texts, ['x', undefined])
})
