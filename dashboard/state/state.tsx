import type { Json } from '../../client/index.ts'
import type { StateInfo, StateSpaces } from '../../openapi/schemas/state.ts'
import { get, withQuery } from '../api.ts'
import { Choice } from '../choice.tsx'
import type { ViewProps } from '../console.tsx'
import { formatBytes, formatCount } from '../format.ts'
import { Problem } from '../outcome.tsx'
import { useReading } from '../reading.ts'
import { go, hashOf } from '../route.ts'
import { SearchBox } from '../search-box.tsx'
import { Table } from '../table.tsx'
import { StateKeyView } from './key.tsx'
import { Leases } from './leases.tsx'
import { useLive } from './use-live.ts'

/** The most keys of a list; a longer one takes a prefix. */
const MOST = 200
const PREVIEW = 120

/** Spaces with their keys and live values; one key to look at closely. */
export function State({ parameters }: ViewProps) {
  const { space = 'app', prefix = '', key } = parameters
  const spaces = useReading(() => get<StateSpaces>('state/spaces'), [], 5_000)
  const info = useReading(() => get<StateInfo>(withQuery('state', { space })), [space])
  const { values, status } = useLive(space, prefix)
  const entries = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1))
  return (
    <>
      <div class="bar">
        <Choice
          label="Space"
          value={space}
          options={[...new Set([space, ...(spaces.value?.spaces ?? [])])].map((name) => [name, name])}
          onChoose={(chosen) => go('state', { space: chosen })}
        />
        <SearchBox
          label="Keys that begin with"
          value={prefix}
          onSearch={(text) => go('state', { space, prefix: text })}
        />
        <p class="muted" role="status">
          {status === 'live' ? 'live' : `not live: ${status}`}
          {info.value &&
            `, revision ${formatCount(info.value.revision)}, ${formatCount(info.value.size)} keys, ${formatBytes(info.value.bytes)}`}
        </p>
      </div>
      <Problem text={spaces.problem ?? info.problem} />
      <div class="halves">
        <Table
          caption={entries.length > MOST ? `The first ${MOST} of ${entries.length} keys` : 'Keys'}
          columns={['Key', 'Value']}
          empty={status === 'live' ? 'There is no such key.' : 'Waiting for the server…'}
          rows={entries.slice(0, MOST).map(([name, value]) => ({
            key: name,
            cells: [
              <a
                key="key"
                href={hashOf('state', { space, prefix, key: name })}
                aria-current={name === key ? 'true' : undefined}
              >
                {name}
              </a>,
              <code key="value">{preview(value)}</code>,
            ],
          }))}
        />
        {key === undefined ? null : <StateKeyView key={`${space} ${key}`} space={space} name={key} />}
      </div>
      <Leases key={space} space={space} />
    </>
  )
}

function preview(value: Json): string {
  const text = JSON.stringify(value)
  return text.length > PREVIEW ? `${text.slice(0, PREVIEW)}…` : text
}
