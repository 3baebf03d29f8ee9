import t from 'tap'
import { Commits } from '../../../plugins/storage/lmdb/commits.ts'
import { Reserve } from '../../../plugins/storage/lmdb/reserve.ts'
import { Room } from '../../../plugins/storage/lmdb/room.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { mountSmallDisk } from '../../fixtures/small-disk.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'

t.test('a commit that may not find room is never begun; one that gives room back has the reserve', async (t) => {
  const reserve = new Reserve(await temporaryFolder(t), new ManualClock())
  t.teardown(() => reserve.close())
  let enough = true
  const asked: number[] = []
  const room = {
    take(bytes: number) {
      asked.push(bytes)
      return enough
    },
  }
  const commits = new Commits(reserve, room)
  const begun: string[] = []
  const commit = (name: string) => async () => void begun.push(name)
  await commits.write(commit('write'), 7)
  await commits.letGo(commit('delete'))
  t.same(begun.splice(0), ['write', 'delete'])
  t.same(asked, [7, 0])
  enough = false
  await t.rejects(commits.write(commit('write')), { code: 'STATEFUL_STORAGE_FULL' })
  await commits.letGo(async () => void begun.push(`delete, ${reserve.lent ? 'with' : 'without'} the reserve`))
  t.same(begun.splice(0), ['delete, with the reserve'])

  enough = true
  await commits.letGo(async () => {
    begun.push(`delete, ${reserve.lent ? 'with' : 'without'} the reserve`)
    if (!reserve.lent) throw Object.assign(new Error('No space left on device'), { code: 28 })
  })
  t.same(begun, ['delete, without the reserve', 'delete, with the reserve'], 'also where the disk filled up meanwhile')
})

t.test('room is what the file system says, less what has just been promised', async (t) => {
  const clock = new ManualClock()
  t.equal(new Room('/nowhere/at/all', clock).take(0), true, 'where it cannot be told, the commit tells')
  const disk = mountSmallDisk(t, 16)
  if (!disk) return t.comment('mounting a small disk takes root on Linux')
  const room = new Room(disk.folder, clock)
  const MEGABYTE = 1024 * 1024
  t.equal(room.take(16 * MEGABYTE), false, 'more than there is')
  t.equal(room.take(5 * MEGABYTE), true)
  t.equal(room.take(5 * MEGABYTE), false, 'the other one may still have to be written')
  t.equal(room.take(0), true)
  clock.advance(20)
  t.equal(room.take(5 * MEGABYTE), true, 'it was not')
  await disk.fill()
  clock.advance(20)
  t.equal(room.take(0), false)
  await disk.free()
  t.equal(room.take(0), false, 'not looked at so often')
  clock.advance(20)
  t.equal(room.take(0), true)
})
