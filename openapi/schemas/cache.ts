import { type Static, Type } from '@sinclair/typebox'
import { MAX_DURATION } from '../../plugins/support/numbers.ts'
import { Durations } from './durations.ts'
import { Count, Integer, Measure, Moment } from './numbers.ts'

export const CacheKey = Type.String({
  minLength: 1,
  maxLength: 512,
  description: 'At most 512 bytes of UTF-8.',
})

const Namespace = Type.String({ pattern: '^[\\w.-]{1,64}$', description: 'Default `default`.' })

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
    tags: Type.Optional(Type.Array(CacheKey, { maxItems: 64 })),
  },
  { $id: 'CacheWrite', additionalProperties: false },
)
export type CacheWrite = Static<typeof CacheWrite>

export const CacheEntry = Type.Object(
  { key: CacheKey, value: Type.Unknown() },
  { $id: 'CacheEntry', additionalProperties: false },
)
export type CacheEntry = Static<typeof CacheEntry>

export const CacheInvalidation = Type.Object(
  {
    keys: Type.Optional(Type.Array(CacheKey, { maxItems: 1_000 })),
    tags: Type.Optional(Type.Array(CacheKey, { maxItems: 1_000 })),
    patterns: Type.Optional(
      Type.Array(CacheKey, { maxItems: 32, description: '`*` stands for any characters, `?` for one: `user:*`.' }),
    ),
  },
  { $id: 'CacheInvalidation', additionalProperties: false, minProperties: 1 },
)
export type CacheInvalidation = Static<typeof CacheInvalidation>

export const CacheInvalidated = Type.Object(
  {
    invalidated: Integer({
      description:
        'Entries removed by key or pattern. What a tag or a declared prefix reaches is gone but not counted.',
    }),
  },
  { $id: 'CacheInvalidated', additionalProperties: false },
)
export type CacheInvalidated = Static<typeof CacheInvalidated>

export const CacheWarming = Type.Object(
  { keys: Type.Array(CacheKey, { minItems: 1, maxItems: 1_000 }) },
  { $id: 'CacheWarming', additionalProperties: false },
)
export type CacheWarming = Static<typeof CacheWarming>

export const CacheWarmed = Type.Object(
  {
    warmed: Count('Now in the first level.'),
    missing: Count('In neither level.'),
    failed: Integer(),
  },
  { $id: 'CacheWarmed', additionalProperties: false },
)
export type CacheWarmed = Static<typeof CacheWarmed>

export const WriterParams = Type.Object(
  { writer: Type.String({ pattern: '^[\\w.-]{1,64}$', description: 'Name of a write-behind handler.' }) },
  { additionalProperties: false },
)

export const DeadLetters = Type.Object(
  {
    letters: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          namespace: Type.String(),
          key: CacheKey,
          value: Type.Unknown(),
          reason: Type.String({ description: 'What the handler said when it refused the write for good.' }),
          at: Moment('When, in milliseconds since 1970.'),
        },
        { additionalProperties: false },
      ),
      { description: 'The oldest first, at most 100.' },
    ),
  },
  { $id: 'DeadLetters', additionalProperties: false },
)
export type DeadLetters = Static<typeof DeadLetters>

export const DeadLetterRetry = Type.Object(
  { ids: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 1_000, description: 'Default: all.' })) },
  { $id: 'DeadLetterRetry', additionalProperties: false },
)
export type DeadLetterRetry = Static<typeof DeadLetterRetry>

export const DeadLettersRetried = Type.Object(
  { retried: Integer() },
  { $id: 'DeadLettersRetried', additionalProperties: false },
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
    tier: Type.Union([Type.Literal('memory'), Type.Literal('lmdb'), Type.Literal('redis')]),
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
      { additionalProperties: false },
    ),
    warming: Type.Object(
      {
        remembered: Count('Hot keys that are written down.'),
        running: Count('Warmings that are running now.'),
        warmed: Count('Hot keys brought back into the first level.'),
        missing: Count('Hot keys that were in neither level and have no loader.'),
        failed: Count('Hot keys whose loader failed.'),
      },
      { additionalProperties: false, description: 'Hot keys, see `POST /cache/warm` for others.' },
    ),
  },
  { $id: 'CacheStats', additionalProperties: false },
)
export type CacheStats = Static<typeof CacheStats>
