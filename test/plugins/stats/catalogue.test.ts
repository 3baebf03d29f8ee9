import type { TSchema } from '@sinclair/typebox'
import t from 'tap'
import { CacheStats } from '../../../openapi/schemas/cache.ts'
import { ProcessStats } from '../../../openapi/schemas/process-stats.ts'
import { SessionStats } from '../../../openapi/schemas/session.ts'
import { StateStats } from '../../../openapi/schemas/state.ts'
import { StorageStats } from '../../../openapi/schemas/storage.ts'
import { SyncStats } from '../../../openapi/schemas/sync.ts'
import { behaviours, isGauge, type Section } from '../../../plugins/stats/catalogue.ts'

const schemas: Record<Section, TSchema> = {
  storage: StorageStats,
  cache: CacheStats,
  sessions: SessionStats,
  state: StateStats,
  sync: SyncStats,
  process: ProcessStats,
}

/** Every field of a schema, at whatever depth, with its schema. */
function fields(schema: TSchema): [string, TSchema][] {
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, TSchema>)
  const records = Object.values((schema['patternProperties'] ?? {}) as Record<string, TSchema>)
  return [
    ...properties.flatMap(([name, inner]): [string, TSchema][] => [[name, inner], ...fields(inner)]),
    ...records.flatMap(fields),
  ]
}

t.test('the catalogue names only fields that there are, and each in one way', async (t) => {
  for (const [section, behaviour] of Object.entries(behaviours) as [Section, (typeof behaviours)[Section]][]) {
    const names = new Set(fields(schemas[section]).map(([name]) => name))
    const { gauges, largest, weighted, labels } = behaviour
    const named = [...gauges, ...largest, ...Object.keys(weighted)]
    t.equal(new Set(named).size, named.length, `${section}: each once`)
    for (const name of [...named, ...Object.values(weighted), ...Object.keys(labels)]) {
      t.ok(names.has(name), `${section}.${name}`)
    }
  }
})

t.test('a share or a mean is no counter', async (t) => {
  for (const [section, schema] of Object.entries(schemas) as [Section, TSchema][]) {
    for (const [name, { type, maximum }] of fields(schema)) {
      if (/Rate$|^mean|^average/.test(name) || (type === 'number' && maximum === 1)) {
        t.ok(isGauge(section, name), `${section}.${name}`)
      }
    }
  }
})

t.test('every number says what it is: that becomes the help of its metric', async (t) => {
  for (const [section, schema] of Object.entries(schemas)) {
    for (const [name, { type, description }] of fields(schema)) {
      if (type === 'integer' || type === 'number') t.ok(description, `${section}.${name}`)
    }
  }
})
