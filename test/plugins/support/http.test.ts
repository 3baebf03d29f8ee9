import t from 'tap'
import { isFresh, namesTag, namesTagStrongly, preferredType } from '../../../plugins/support/http.ts'

t.test('If-None-Match compares weakly, and goes before a date', async (t) => {
  for (const etag of ['"1"', 'W/"1"']) {
    for (const known of ['"1"', 'W/"1"', '"0", "1"', '"0",W/"1"', '*', ' * ']) {
      t.ok(namesTag(known, etag), `${known} names ${etag}`)
      t.ok(isFresh({ 'if-none-match': known.trim() }, { etag }))
    }
    for (const other of ['"2"', '1', '"1', '"11"', 'w/"1"', '']) t.notOk(namesTag(other, etag), `${other}, ${etag}`)
  }
  const lastModified = 'Mon, 01 Jan 2024 00:00:00 GMT'
  const since = { 'if-modified-since': lastModified }
  t.ok(isFresh(since, { etag: '"1"', lastModified }))
  t.notOk(isFresh(since, { etag: '"1"' }))
  t.notOk(isFresh({ ...since, 'if-none-match': '"2"' }, { etag: '"1"', lastModified }))
  t.notOk(isFresh({ 'if-none-match': '"1"', 'cache-control': 'no-cache' }, { etag: '"1"' }), 'a reload')
  t.notOk(isFresh({}, { etag: '"1"' }))
})

t.test('If-Match compares strongly', async (t) => {
  for (const list of ['"1"', '"0", "1"', '*']) t.ok(namesTagStrongly(list, '"1"'), list)
  for (const list of ['W/"1"', '"2"', '1', '']) t.notOk(namesTagStrongly(list, '"1"'), list)
  t.notOk(namesTagStrongly('W/"1"', 'W/"1"'), 'a weak tag matches nothing')
})

t.test('Accept: the best that both know, by quality, and else the first', async (t) => {
  const PLAIN = 'application/json'
  const LINES = 'application/x-ndjson'
  for (const [accept, type] of [
    [undefined, PLAIN],
    ['', PLAIN],
    ['*/*', PLAIN],
    ['application/*', PLAIN],
    [LINES, LINES],
    ['Application/X-NDJSON; charset=utf-8', PLAIN],
    ['APPLICATION/x-ndjson', LINES],
    [`${LINES};q=0.5, ${PLAIN}`, PLAIN],
    [`${LINES}, ${PLAIN};q=0.5`, LINES],
    [`${LINES};q=0`, PLAIN],
    [`${LINES}, */*;q=0.1`, LINES],
    ['text/html', PLAIN],
    ['nonsense', PLAIN],
  ] as const) {
    t.equal(preferredType(accept, [PLAIN, LINES]), type, `${accept}`)
  }
})
