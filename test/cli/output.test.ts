import fc from 'fast-check'
import t from 'tap'
import { columns, printable } from '../../cli/output.ts'

t.test('what a terminal obeys is shown instead, and everything else stays as it is', async (t) => {
  t.equal(printable('a\u001b[2J\r\n\u009b8m'), 'a\\u001b[2J\\u000d\\u000a\\u009b8m')
  t.equal(printable('user\u202enimda'), 'user\\u202enimda')
  t.equal(printable('Zoë 👩‍💻 "ø"\\'), 'Zoë 👩‍💻 "ø"\\')
  const visible = (text: string) => !/[^\P{Cc}]|[\u202a-\u202e\u2066-\u2069]/u.test(text)
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => visible(printable(text))))
})

t.test('a cell from outside stays in its row', async (t) => {
  t.same(
    columns([
      ['NAME', 'ID'],
      ['a\nb', '1'],
      ['\u001b[A', '2'],
    ]),
    ['NAME      ID', 'a\\u000ab  1', '\\u001b[A  2'],
  )
})
