/** What a client may send and no client should; each has broken some server. */

const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
const fields = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`

/** JSON texts of single values. */
export const hostileJson: Record<string, string> = {
  infinity: '1e999',
  'minus infinity': '-1e999',
  'a number that no double holds': '123456789012345678901234567890',
  'the largest double': '1.7976931348623157e308',
  'minus zero': '-0',
  null: 'null',
  false: 'false',
  'an empty text': '""',
  'an empty list': '[]',
  'an empty object': '{}',
  NUL: '"\\u0000"',
  'a line break': '"a\\r\\nset-cookie: b"',
  'half a surrogate pair': '"\\ud800"',
  __proto__: '"__proto__"',
  constructor: '"constructor"',
  'a prototype': '{"__proto__":{"polluted":1}}',
  'a constructor': '{"constructor":{"prototype":{"polluted":1}}}',
  'a long text': JSON.stringify('x'.repeat(100_000)),
  'a long name': `{"${'k'.repeat(100_000)}":1}`,
  '5,000 levels': nested(5_000),
  '5,000 levels of fields': fields(5_000),
  '100,000 levels': nested(100_000),
  '100,000 levels of fields': fields(100_000),
  'many values': `[${'0,'.repeat(50_000)}0]`,
}

/** Parts of a path, encoded or not, as they stand in a URL. */
export const hostileParts: string[] = [
  '%00',
  '%0d%0a',
  '%',
  '%zz',
  '%ff',
  '%ed%a0%80',
  '..%2f..%2fetc%2fpasswd',
  '__proto__',
  'constructor',
  'prototype',
  'hasOwnProperty',
  '%E2%80%AE',
  'k'.repeat(1_000),
  '%F0%9F%92%A9'.repeat(200),
  '*',
  '%5B%5D',
]

/** Texts of query parameters. */
export const hostileQueries = (name: string): string[] => [
  `${name}=`,
  name,
  `${name}=a&${name}=b`,
  `${name}[]=a`,
  `${name}[a]=b`,
  `${name}=%00`,
  `${name}=%`,
  `${name}=%ff`,
  `${name}=%ed%a0%80`,
  `${name}=__proto__`,
  `${name}=constructor`,
  `${name}=Infinity`,
  `${name}=1e999`,
  `${name}=-1`,
  `${name}=${'9'.repeat(400)}`,
  `${name}=NaN`,
  `${name}=${'x'.repeat(4_000)}`,
  `${name}=${encodeURIComponent(nested(5_000))}`.slice(0, 8_000),
  '__proto__=1',
  `${'a=1&'.repeat(1_500)}${name}=1`,
]

/** Header fields. */
export const hostileHeaders: Record<string, string>[] = [
  { 'content-type': 'application/json; charset=utf-7' },
  { 'content-type': 'application/json, text/html' },
  { 'content-type': '\u00e4' },
  { accept: '\u00ff\u00fe' },
  { cookie: 'sid=%; sid=; =; __proto__=1' },
  { cookie: `sid=${'x'.repeat(5_000)}` },
  { 'if-match': '"1e999"' },
  { 'if-match': 'W/"1", *, "' },
  { 'if-none-match': '*, *' },
  { origin: 'null' },
  { origin: '//' },
  { 'sec-fetch-site': 'cross-site' },
  { 'x-forwarded-for': '999.999.999.999, ::' },
  { range: 'bytes=-0' },
  { 'last-event-id': '\u00ff' },
  { authorization: 'Bearer' },
  { __proto__x: '1' },
]
