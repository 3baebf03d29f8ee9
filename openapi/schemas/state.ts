import { type Static, Type } from '@sinclair/typebox'
import { SPACE_NAME } from '../../plugins/support/keys.ts'
import { MAX_DURATION } from '../../plugins/support/numbers.ts'
import { AnyNumber, Count, Integer, Moment } from './numbers.ts'
import { annotated, reference } from './responses.ts'

/** Any JSON value. State holds nothing else: it travels to other instances and to browsers. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }

/** The schema of any JSON value; what it may hold is checked by the engine, with a typed error. */
export const JsonValue = Type.Unsafe<Json>({ description: 'Any JSON value.' })

/** Names a space: letters, digits, `_`, `.` and `-`, so that it is safe in file names, Redis keys and URLs. */
export const SpaceName = Type.String({ pattern: SPACE_NAME.source, description: 'Names a space.', examples: ['app'] })

/** A key as the schema can check it; the engine also counts its UTF-8 bytes (at most 512) and refuses control characters. */
export const StateKey = Type.String({
  minLength: 1,
  maxLength: 512,
  description: 'Names a value of a space: at most 512 bytes of UTF-8.',
  examples: ['theme'],
})

export const Epoch = Type.String({
  pattern: '^[0-9]{1,16}:[A-Za-z0-9_-]{1,64}$',
  description: 'Names one history, `counter:incarnation`. It changes whenever history may have been lost.',
})
export type Epoch = Static<typeof Epoch>

export const Revision = Integer({
  description: 'The number of a commit in its space; grows by one with each commit.',
})

/** What the `value` of each operation is, and what it makes of a value that is there. */
export const operations = [
  { op: 'set', operand: 'the new value', before: 'light', value: 'dark', after: 'dark' },
  {
    op: 'merge',
    operand: 'the fields to set in the object that is there',
    before: { name: 'Ada', city: 'Rome' },
    value: { city: 'Oslo' },
    after: { name: 'Ada', city: 'Oslo' },
  },
  { op: 'increment', operand: 'the number to add, 1 without it', before: 40, value: 2, after: 42 },
  { op: 'append', operand: 'one element for the end of the list', before: ['a'], value: 'b', after: ['a', 'b'] },
  { op: 'setAdd', operand: 'one member', before: ['new'], value: 'new', after: ['new'] },
  { op: 'setRemove', operand: 'one member', before: ['new', 'old'], value: 'old', after: ['new'] },
] as const

const operands = operations.map(({ op, operand, before, value, after }) => {
  const [made, given, was] = [after, value, before].map((json) => JSON.stringify(json))
  return `\`${op}\`: ${operand}; \`${given}\` makes \`${made}\` of \`${was}\`.`
})

export const Op = Type.Object(
  {
    op: Type.Union(
      [
        Type.Literal('set'),
        Type.Literal('merge'),
        Type.Literal('increment'),
        Type.Literal('append'),
        Type.Literal('setAdd'),
        Type.Literal('setRemove'),
        Type.Literal('delete'),
      ],
      { description: 'What is done to the key.' },
    ),
    key: StateKey,
    value: Type.Optional(
      annotated(JsonValue, {
        description: `The operand, never the result. ${operands.join(' ')} \`delete\`: none.`,
      }),
    ),
    ttl: Type.Optional(
      Integer({
        minimum: 1,
        maximum: MAX_DURATION,
        description:
          "Milliseconds after the commit's `at` when the key is deleted. `set` without it removes an earlier one; the other operations keep it.",
      }),
    ),
  },
  {
    $id: 'StatefulStateOp',
    additionalProperties: false,
    description: 'One change of one key.',
    examples: [
      { op: 'set', key: 'theme', value: 'dark', ttl: 60_000 },
      { op: 'merge', key: 'user:1', value: { city: 'Oslo' } },
      { op: 'increment', key: 'likes', value: 2 },
      { op: 'append', key: 'notes', value: { text: 'Hello' } },
      { op: 'setAdd', key: 'tags', value: 'new' },
      { op: 'setRemove', key: 'tags', value: 'old' },
      { op: 'delete', key: 'theme' },
    ],
  },
)
export type Op = Static<typeof Op>

const EPOCH = '1:kX3v9Qm2'
const COMMIT = {
  space: 'app',
  epoch: EPOCH,
  prev: 7,
  revision: 8,
  ops: [{ op: 'set', key: 'theme', value: 'dark' }],
  at: 1_770_000_000_000,
}

export const Commit = Type.Object(
  {
    space: SpaceName,
    epoch: Epoch,
    prev: Integer({ description: 'Apply the commit only to a replica that is at this revision.' }),
    revision: Revision,
    ops: Type.Array(reference(Op), { minItems: 1, maxItems: 128, description: 'Applied together, in order.' }),
    clientId: Type.Optional(Type.String({ maxLength: 128, description: 'Who wrote it. Absent: the server.' })),
    seq: Type.Optional(Integer({ description: "The writer's own number of it." })),
    at: Moment('When it was committed, milliseconds since the Unix epoch; the clock of the writer.'),
  },
  {
    $id: 'StatefulStateCommit',
    additionalProperties: false,
    description: 'One revision: its operations apply together or not at all.',
    examples: [COMMIT],
  },
)
export type Commit = Static<typeof Commit>

/** A point in the log. */
export interface Position {
  epoch: string
  revision: number
}

export const StateSnapshot = Type.Object(
  {
    epoch: Epoch,
    revision: Revision,
    state: Type.Record(Type.String(), JsonValue, { description: 'Every key with its value, at this one revision.' }),
  },
  {
    $id: 'StatefulStateSnapshot',
    additionalProperties: false,
    description: 'Everything that a space holds, at one revision.',
    examples: [{ epoch: EPOCH, revision: 8, state: { theme: 'dark', likes: 42 } }],
  },
)
export type StateSnapshot = Static<typeof StateSnapshot>

export const StateEntry = Type.Object(
  {
    key: StateKey,
    value: JsonValue,
    revision: Integer({
      description: 'The revision at which this key last changed; with the epoch of that commit, the `ETag`.',
    }),
    epoch: Epoch,
    expiresAt: Type.Optional(Moment('When the key will be deleted, milliseconds since the Unix epoch.')),
  },
  {
    $id: 'StatefulStateEntry',
    additionalProperties: false,
    description: 'What a key holds.',
    examples: [{ key: 'theme', value: 'dark', revision: 8, epoch: EPOCH }],
  },
)
export type StateEntry = Static<typeof StateEntry>

export const StateInfo = Type.Object(
  {
    space: SpaceName,
    epoch: Epoch,
    revision: Revision,
    size: Count('Number of keys.'),
    bytes: Count('Bytes of all keys and their values as JSON.'),
  },
  {
    $id: 'StatefulStateInfo',
    additionalProperties: false,
    description: 'Where a space stands.',
    examples: [{ space: 'app', epoch: EPOCH, revision: 8, size: 2, bytes: 25 }],
  },
)
export type StateInfo = Static<typeof StateInfo>

export const StateKeys = Type.Object(
  {
    keys: Type.Array(StateKey, { description: 'Sorted.' }),
    cursor: Type.Optional(
      Type.String({ description: 'Pass it as `cursor` for the next page; absent on the last page.' }),
    ),
  },
  {
    $id: 'StatefulStateKeys',
    additionalProperties: false,
    description: 'A page of the keys of a space.',
    examples: [{ keys: ['likes', 'theme'], cursor: 'theme' }],
  },
)
export type StateKeys = Static<typeof StateKeys>

export const StateWrite = Type.Object(
  {
    value: JsonValue,
    ttl: Type.Optional(
      Integer({ minimum: 1, maximum: MAX_DURATION, description: 'Milliseconds until the key is deleted.' }),
    ),
  },
  {
    $id: 'StatefulStateWrite',
    additionalProperties: false,
    description: 'What the key is to hold, and for how long.',
    examples: [{ value: 'dark' }, { value: { name: 'Ada' }, ttl: 60_000 }],
  },
)
export type StateWrite = Static<typeof StateWrite>

export const StateMerge = Type.Object(
  {
    value: Type.Unsafe<{ [name: string]: Json }>({
      type: 'object',
      description: 'Its fields replace or join those of the value; `null` is a value like any other.',
    }),
  },
  {
    $id: 'StatefulStateMerge',
    additionalProperties: false,
    description: 'Fields for the object that the key holds.',
    examples: [{ value: { city: 'Oslo' } }],
  },
)
export type StateMerge = Static<typeof StateMerge>

export const StateIncrement = Type.Object(
  { by: Type.Optional(AnyNumber({ default: 1, description: 'What to add; negative to subtract.' })) },
  {
    $id: 'StatefulStateIncrement',
    additionalProperties: false,
    description: 'What to add to the number that the key holds.',
    examples: [{ by: 2 }, {}],
  },
)
export type StateIncrement = Static<typeof StateIncrement>

export const StateRestore = Type.Object(
  {
    state: Type.Record(Type.String(), JsonValue, { description: 'Every key with its value.' }),
    epoch: Type.Optional(annotated(Epoch, { description: 'Of the snapshot; the restore begins an epoch of its own.' })),
    revision: Type.Optional(annotated(Revision, { description: 'Of the snapshot.' })),
  },
  {
    $id: 'StatefulStateRestore',
    additionalProperties: false,
    description: 'What the space holds afterwards, and nothing else.',
    examples: [{ state: { theme: 'dark', likes: 42 } }],
  },
)
export type StateRestore = Static<typeof StateRestore>

export const StateChanges = Type.Object(
  {
    epoch: Epoch,
    revision: Revision,
    commits: Type.Array(reference(Commit), { description: 'In order.' }),
    reset: Type.Boolean({
      description:
        '`true`: the position that was asked for is not in the retained history. Take a snapshot and go on from its revision.',
    }),
  },
  {
    $id: 'StatefulStateChanges',
    additionalProperties: false,
    description: 'What was committed after a position, and the position after that.',
    examples: [{ epoch: EPOCH, revision: 8, reset: false, commits: [COMMIT] }],
  },
)
export type StateChanges = Static<typeof StateChanges>

export const StateStats = Type.Object(
  {
    spaces: Count('Open spaces.'),
    revision: Count('Revisions of all open spaces together.'),
    keys: Count('Keys of all open spaces.'),
    bytes: Count('Bytes of all keys and values as JSON.'),
    waiting: Count('Writes without an outcome yet.'),
    retained: Count('Commits that are kept in memory for those who come back.'),
    historyBytes: Count('Bytes of the commits that are retained, in memory or in the store.'),
    commits: Count('Commits made by this instance.'),
    batches: Count('Rounds in which they went to the store; several commits share one.'),
    conflicts: Count('Rounds that were repeated because another instance was faster.'),
    refused: Count('Writes refused by a middleware, a schema, a limit, a guard or the store.'),
    timeouts: Count('Writes given up before they reached the store.'),
    unknown: Count('Writes that the store did not confirm in time.'),
    storeErrors: Count('Calls of the store that failed.'),
    catchUps: Count('Times the log was read for what other instances wrote.'),
    resyncs: Count('Times a replica was replaced as a whole.'),
    unreadable: Count('Keys and commits of a log that could not be read or applied, and were left out.'),
    epochChanges: Count('New epochs because the store may have lost the end of a log.'),
  },
  { $id: 'StatefulStateStats', additionalProperties: false, description: 'The numbers of the state.' },
)
export type StateStats = Static<typeof StateStats>

export const StateSpaces = Type.Object(
  { spaces: Type.Array(SpaceName, { description: 'In order.' }) },
  {
    $id: 'StatefulStateSpaces',
    additionalProperties: false,
    description: 'The spaces that the instance that answers has open.',
    examples: [{ spaces: ['app', 'board'] }],
  },
)
export type StateSpaces = Static<typeof StateSpaces>
