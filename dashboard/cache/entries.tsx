import type { CacheEntries, CacheEntry } from '../../openapi/schemas/cache.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, send, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { formatBytes, formatDuration } from '../format.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { emptyOf, useReading } from '../reading.ts'
import { go, hashOf } from '../route.ts'
import { SearchBox } from '../search-box.tsx'
import { Table } from '../table.tsx'

interface EntriesProps {
  namespace: string
  pattern: string
  cursor: string
  /** The key whose value is shown. */
  name: string | undefined
}

/** How often the value on display is read, in milliseconds. That its entry has gone is seen in the list before. */
const VALUE_EVERY = 5_000

export function Entries({ namespace, pattern, cursor, name }: EntriesProps) {
  const mayAct = useMayAct('cache:write')
  const ask = useAsk()
  const { value, problem, again } = useReading(
    () => get<CacheEntries>(withQuery('cache/entries', { namespace, pattern, cursor, limit: 50 })),
    [namespace, pattern, cursor],
  )
  const { run, busy, outcome } = useAction(again)
  const remove = (key: string) =>
    run(async () => {
      const text = 'It is not served any more, on any instance.'
      if ((await ask({ title: `Delete ${key}?`, text, action: 'Delete' })) === undefined) return undefined
      await send('DELETE', withQuery(`cache/entries/${encodeURIComponent(key)}`, { namespace }))
      return `${key} is deleted.`
    })
  return (
    <>
      <div class="bar">
        <SearchBox
          label="Keys that match"
          placeholder="user:*"
          value={pattern}
          onSearch={(text) => go('cache', { namespace, pattern: text })}
        />
      </div>
      <Problem text={problem} />
      <Outcome outcome={outcome} />
      <div class="halves">
        <Table
          caption={`Entries of ${namespace}`}
          columns={['Key', 'Time left', 'Level', 'Bytes', 'Tags', ...(mayAct ? ['Actions'] : [])]}
          empty={emptyOf({ value, problem }, 'No key matches.')}
          rows={(value?.entries ?? []).map(({ key, ttl, fresh, level, bytes, tags }) => ({
            key,
            cells: [
              <a
                key="key"
                href={hashOf('cache', { namespace, pattern, cursor, key })}
                aria-current={key === name ? 'true' : undefined}
              >
                {key}
              </a>,
              fresh ? formatDuration(ttl / 1_000) : 'stale',
              level,
              formatBytes(bytes),
              tags.join(', ') || '–',
              ...(mayAct
                ? [
                    <button key="delete" type="button" disabled={busy} onClick={() => remove(key)}>
                      Delete
                    </button>,
                  ]
                : []),
            ],
          }))}
        />
        {name === undefined ? null : <Value key={`${namespace} ${name}`} namespace={namespace} name={name} />}
      </div>
      {value?.cursor && (
        <p>
          <a href={hashOf('cache', { namespace, pattern, cursor: value.cursor })}>Next page</a>
        </p>
      )}
    </>
  )
}

function Value({ namespace, name }: { namespace: string; name: string }) {
  const { value, problem } = useReading(
    () => get<CacheEntry>(withQuery(`cache/entries/${encodeURIComponent(name)}`, { namespace })),
    [namespace, name],
    VALUE_EVERY,
  )
  return (
    <section class="panel" aria-label={`Entry ${name}`}>
      <h2>
        <code>{name}</code>
      </h2>
      <Problem text={problem} />
      {value && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard
        <pre tabIndex={0}>{JSON.stringify(value.value, null, 2)}</pre>
      )}
    </section>
  )
}
