import { type Static, Type } from '@sinclair/typebox'
import { MAX_DURATION } from '../../plugins/support/numbers.ts'
import { Durations } from './durations.ts'
import { Count, Integer, Measure, Moment } from './numbers.ts'

export const CacheKey = Type.String({
  minLength: 1,
  maxLength: 512,
  description: 'Names an entry: at most 512 bytes of UTF-8.',
  examples: ['product:42'],
})

const Namespace = Type.String({ pattern: '^[\\w.-]{1,64}$', description: 'Which namespace. Default `default`.' })

export const CacheQuery = Type.Object({ namespace: Type.Optional(Namespace) }, { additionalProperties: false })
export type CacheQuery = Static<typeof CacheQuery>

export const CacheEntryParams = Type.Object({ key: CacheKey }, { additionalProperties: false })

const Ttl = Type.Union(
  [Type.Number({ exclusiveMinimum: 0, maximum: MAX_DURATION }), Type.String({ minLength: 1, maxLength: 32 })],
  {
    description: "Milliseconds, or text such as `'5m'`; at most a hundred years.",
    examples: ['5m', 60_000],
  },
)

export const CacheWrite = Type.Object(
  {
    value: Type.Unknown({ description: 'Any JSON; `null` is a value.' }),
    ttl: Type.Optional(Ttl),
    tags: Type.Optional(
      Type.Array(CacheKey, {
        maxItems: 64,
        description: 'Names under which the entry can be invalidated with others.',
      }),
    ),
  },
  {
    $id: 'StatefulCacheWrite',
    additionalProperties: false,
    description: 'A value to store, for how long, and under which tags.',
    examples: [{ value: { name: 'Lamp', price: 42 }, ttl: '5m', tags: ['products'] }],
  },
)
export type CacheWrite = Static<typeof CacheWrite>

export const CacheEntry = Type.Object(
  { key: CacheKey, value: Type.Unknown({ description: 'Any JSON; `null` is a value.' }) },
  {
    $id: 'StatefulCacheEntry',
    additionalProperties: false,
    description: 'An entry of the cache.',
    examples: [{ key: 'product:42', value: { name: 'Lamp', price: 42 } }],
  },
)
export type CacheEntry = Static<typeof CacheEntry>

export const CacheInvalidation = Type.Object(
  {
    keys: Type.Optional(Type.Array(CacheKey, { maxItems: 1_000, description: 'These entries.' })),
    tags: Type.Optional(
      Type.Array(CacheKey, { maxItems: 1_000, description: 'Every entry that has one of these tags.' }),
    ),
    patterns: Type.Optional(
      Type.Array(CacheKey, { maxItems: 32, description: '`*` stands for any characters, `?` for one: `user:*`.' }),
    ),
  },
  {
    $id: 'StatefulCacheInvalidation',
    additionalProperties: false,
    minProperties: 1,
    description: 'What is not to be served any more, by any of these.',
    examples: [{ tags: ['products'] }, { keys: ['product:42'], patterns: ['search:*'] }],
  },
)
export type CacheInvalidation = Static<typeof CacheInvalidation>

export const CacheInvalidated = Type.Object(
  {
    invalidated: Integer({
      description:
        'Entries removed by key or pattern. What a tag or a declared prefix reaches is gone but not counted.',
    }),
  },
  {
    $id: 'StatefulCacheInvalidated',
    additionalProperties: false,
    description: 'It is done, on every instance.',
    examples: [{ invalidated: 3 }],
  },
)
export type CacheInvalidated = Static<typeof CacheInvalidated>

export const CacheWarming = Type.Object(
  {
    keys: Type.Optional(
      Type.Array(CacheKey, {
        minItems: 1,
        maxItems: 1_000,
        description: 'Entries that will be asked for soon. Default: the hot keys that were written down last.',
      }),
    ),
  },
  {
    $id: 'StatefulCacheWarming',
    additionalProperties: false,
    description: 'What to take into the first level.',
    examples: [{ keys: ['product:42', 'product:43'] }, {}],
  },
)
export type CacheWarming = Static<typeof CacheWarming>

export const CacheWarmed = Type.Object(
  {
    warmed: Count('Now in the first level.'),
    missing: Count('In neither level, and no loader is registered or it had nothing.'),
    failed: Count('Could not be read or loaded.'),
  },
  {
    $id: 'StatefulCacheWarmed',
    additionalProperties: false,
    description: 'What became of the keys.',
    examples: [{ warmed: 1, missing: 1, failed: 0 }],
  },
)
export type CacheWarmed = Static<typeof CacheWarmed>

export const CacheSearchQuery = Type.Object(
  {
    namespace: Type.Optional(Namespace),
    pattern: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 512,
        default: '*',
        description: 'Which keys: `*` stands for any characters, `?` for one.',
        examples: ['user:*'],
      }),
    ),
    cursor: Type.Optional(Type.String({ maxLength: 512, description: 'Of the page before.' })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'The most entries of a page.' }),
    ),
  },
  { additionalProperties: false },
)
export type CacheSearchQuery = Static<typeof CacheSearchQuery>

export const CacheEntries = Type.Object(
  {
    entries: Type.Array(
      Type.Object(
        {
          key: CacheKey,
          ttl: Count('Milliseconds until it is loaded again; 0 when that time has come.'),
          fresh: Type.Boolean({ description: '`false`: only served as stale.' }),
          level: Type.Union([Type.Literal('first'), Type.Literal('second')], {
            description: 'The first level that has it, on the instance that answers.',
          }),
          bytes: Count('Its encoded size.'),
          tags: Type.Array(Type.String(), { description: 'Names under which it can be invalidated with others.' }),
        },
        { additionalProperties: false },
      ),
      { description: 'In the order of their keys.' },
    ),
    cursor: Type.Optional(Type.String({ description: 'Names the next page. Absent: this is the last one.' })),
  },
  {
    $id: 'StatefulCacheEntries',
    additionalProperties: false,
    description: 'A page of entries, without their values.',
    examples: [
      {
        entries: [
          { key: 'user:1', ttl: 41_000, fresh: true, level: 'first', bytes: 312, tags: ['users'] },
          { key: 'user:2', ttl: 0, fresh: false, level: 'second', bytes: 298, tags: ['users'] },
        ],
        cursor: 'user:2',
      },
    ],
  },
)
export type CacheEntries = Static<typeof CacheEntries>

export const CacheNamespaces = Type.Object(
  {
    namespaces: Type.Array(
      Type.Object(
        {
          name: Type.String({ description: 'Names it.' }),
          lookups: Count('Everything that was asked for.'),
          missRate: Type.Number({ minimum: 0, maximum: 1, description: 'Share of the lookups.' }),
          meanLoadTime: Measure('Mean duration of a load in milliseconds.'),
          entries: Count('In the first level now.'),
          bytes: Count('Their encoded size.'),
          hottest: Type.Array(Type.String(), {
            description: 'The keys of the first level that were used most, at most ten.',
          }),
        },
        { additionalProperties: false },
      ),
      { description: 'Those that the instance that answers has open.' },
    ),
  },
  {
    $id: 'StatefulCacheNamespaces',
    additionalProperties: false,
    description: 'The namespaces of the cache, with what tells whether they are of use.',
    examples: [
      {
        namespaces: [
          {
            ...{ name: 'default', lookups: 1_204, missRate: 0.07, meanLoadTime: 12.5, entries: 86, bytes: 26_214 },
            hottest: ['user:1'],
          },
        ],
      },
    ],
  },
)
export type CacheNamespaces = Static<typeof CacheNamespaces>

export const CacheWriters = Type.Object(
  {
    writers: Type.Array(
      Type.Object(
        {
          name: Type.String({ description: 'Names the handler.' }),
          pending: Count('Writes that wait for it.'),
          written: Count('Writes handed over.'),
          retried: Count('Batches that failed and were tried again.'),
          dead: Count('Writes that it refused for good.'),
        },
        { additionalProperties: false },
      ),
      { description: 'Those of the instance that answers.' },
    ),
  },
  {
    $id: 'StatefulCacheWriters',
    additionalProperties: false,
    description: 'The write-behind handlers, with what waits for them.',
    examples: [{ writers: [{ name: 'orders', pending: 3, written: 118, retried: 1, dead: 0 }] }],
  },
)
export type CacheWriters = Static<typeof CacheWriters>

export const WriterParams = Type.Object(
  {
    writer: Type.String({
      pattern: '^[\\w.-]{1,64}$',
      description: 'Name of a write-behind handler.',
      examples: ['orders'],
    }),
  },
  { additionalProperties: false },
)

export const WaitingWritesQuery = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'The most writes of an answer.' }),
    ),
  },
  { additionalProperties: false },
)

export const WaitingWrites = Type.Object(
  {
    writes: Type.Array(
      Type.Object(
        {
          id: Type.String({ description: 'The number of the write, as its handler gets it: the latest of its key.' }),
          namespace: Type.String({ description: 'Of the cache, in which it was written.' }),
          key: CacheKey,
          since: Moment('Since when the key waits, in milliseconds since 1970; it may have been written again since.'),
          attempts: Count('How often the instance that answers has handed it over in vain.'),
        },
        { additionalProperties: false },
      ),
      { description: 'Those that have waited longest first; `listCacheWriters` tells how many there are.' },
    ),
  },
  {
    $id: 'StatefulWaitingWrites',
    additionalProperties: false,
    description: 'The writes that wait for a write-behind handler, without their values.',
    examples: [
      {
        writes: [
          {
            id: '1770000000000000',
            namespace: 'default',
            key: 'product:42',
            since: 1_770_000_000_000,
            attempts: 2,
          },
        ],
      },
    ],
  },
)
export type WaitingWrites = Static<typeof WaitingWrites>

export const DeadLetters = Type.Object(
  {
    letters: Type.Array(
      Type.Object(
        {
          id: Type.String({ description: 'Of the write; retry it by this.' }),
          namespace: Type.String({ description: 'Of the cache, in which it was written.' }),
          key: CacheKey,
          value: Type.Unknown({ description: 'What was to be written.' }),
          reason: Type.String({ description: 'What the handler said when it refused the write for good.' }),
          at: Moment('When, in milliseconds since 1970.'),
        },
        { additionalProperties: false },
      ),
      { description: 'The oldest first, at most 100.' },
    ),
  },
  {
    $id: 'StatefulDeadLetters',
    additionalProperties: false,
    description: 'The writes that a write-behind handler refused for good.',
    examples: [
      {
        letters: [
          {
            id: '1770000000000-0',
            namespace: 'default',
            key: 'product:42',
            value: { name: 'Lamp', price: -1 },
            reason: 'the price is negative',
            at: 1_770_000_000_000,
          },
        ],
      },
    ],
  },
)
export type DeadLetters = Static<typeof DeadLetters>

export const DeadLetterRetry = Type.Object(
  { ids: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 1_000, description: 'Default: all.' })) },
  {
    $id: 'StatefulDeadLetterRetry',
    additionalProperties: false,
    description: 'Which of the refused writes to hand over again.',
    examples: [{ ids: ['1770000000000-0'] }],
  },
)
export type DeadLetterRetry = Static<typeof DeadLetterRetry>

export const DeadLettersRetried = Type.Object(
  { retried: Count('Writes that are handed over again.') },
  {
    $id: 'StatefulDeadLettersRetried',
    additionalProperties: false,
    description: 'They wait for their handler.',
    examples: [{ retried: 1 }],
  },
)
export type DeadLettersRetried = Static<typeof DeadLettersRetried>

const Share = (description: string) => Type.Number({ minimum: 0, maximum: 1, description })

const cacheNumbers = {
  lookups: Count('Everything that was asked for: hits, stale answers, joined loads and misses together.'),
  l1Hits: Count('Answered by the first level.'),
  l2Hits: Count('Answered by the second level.'),
  misses: Count('Nothing was there.'),
  joined: Count('Waited for a load that another caller had begun.'),
  stale: Count('Answered with a value past its time, as the caller allowed.'),
  l1HitRate: Share('Share of the lookups. The four rates add up to 1; before the first lookup all are 0.'),
  l2HitRate: Share('Share of the lookups.'),
  missRate: Share('Share of the lookups, joined loads included.'),
  staleRate: Share('Share of the lookups.'),
  loads: Count('Loaders run.'),
  loadFailures: Count('Loaders that failed or took too long.'),
  loadDuration: Durations('Loads'),
  meanLoadTime: Measure('Mean duration of a load in milliseconds.'),
  refused: Count('Loads that were not stored, because an invalidation came between.'),
  sets: Count('Entries stored by `set`.'),
  deletes: Count('Entries that deletions removed.'),
  invalidations: Count('Invalidations by key, tag, pattern or of a namespace.'),
  evictions: Count('Entries that left the first level for want of room.'),
  storeFailures: Count('Operations that the store failed; reads among them were answered as misses.'),
  resyncs: Count('How often the first level was emptied because messages may have been lost.'),
  entries: Count('In the first level now.'),
  bytes: Count('Their encoded size.'),
}

const CacheNumbers = Type.Object(cacheNumbers, { additionalProperties: false })
/** The numbers of one namespace, or of all together. */
export type CacheNumbers = Static<typeof CacheNumbers>

export const CacheStats = Type.Object(
  {
    tier: Type.Union([Type.Literal('memory'), Type.Literal('lmdb'), Type.Literal('redis')], {
      description: 'What the second level is kept in.',
    }),
    coherent: Type.Boolean({ description: 'Whether the first level is proven current at this moment.' }),
    ...cacheNumbers,
    namespaces: Type.Record(Type.String(), CacheNumbers, { description: 'Each namespace by itself.' }),
    writeBehind: Type.Object(
      {
        pending: Count('Writes that wait for their handler.'),
        written: Count('Writes handed over.'),
        retried: Count('Batches that failed and were tried again.'),
        dead: Count('Writes that their handler refused for good.'),
      },
      { additionalProperties: false, description: 'Writes that go to their source later.' },
    ),
    loaders: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            loads: Count('Loads that ended.'),
            loadFailures: Count('Of these, those that failed or took too long.'),
            time: Measure('How long they took together, in milliseconds.'),
            worst: Measure('The slowest load of the last 10 to 20 seconds, in milliseconds; 0 without one.'),
          },
          { additionalProperties: false },
        ),
        {
          description:
            'Loads by `<namespace>/<beginning of the key>*`, the beginning up to its first `:` or `/`; at most 100, the least recently run are forgotten. Absent from earlier versions.',
        },
      ),
    ),
    breaker: Type.Optional(
      Type.Object(
        {
          open: Count('Circuits that are open now: nothing is asked of the store, and every read there is a miss.'),
          outages: Count('Times that a circuit opened.'),
          deferred: Count('Invalidations that wait until the store answers again.'),
        },
        {
          additionalProperties: false,
          description: 'What keeps a store that is away from holding callers up: Redis only.',
        },
      ),
    ),
    warming: Type.Object(
      {
        remembered: Count('Hot keys that are written down.'),
        running: Count('Warmings that are running now.'),
        warmed: Count('Hot keys brought back into the first level.'),
        missing: Count('Hot keys that were in neither level and have no loader.'),
        failed: Count('Hot keys whose loader failed.'),
      },
      { additionalProperties: false, description: 'Hot keys; `warmCache` takes others.' },
    ),
  },
  { $id: 'StatefulCacheStats', additionalProperties: false, description: 'The numbers of the multi-level cache.' },
)
export type CacheStats = Static<typeof CacheStats>
