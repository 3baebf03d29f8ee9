import { useState } from 'preact/hooks'
import type { CacheInvalidated, CacheNamespaces } from '../../openapi/schemas/cache.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, send, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { Choice } from '../choice.tsx'
import type { ViewProps } from '../console.tsx'
import { formatBytes, formatCount, formatMilliseconds, formatRate } from '../format.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { emptyOf, useReading } from '../reading.ts'
import { hashOf } from '../route.ts'
import { Table } from '../table.tsx'
import { Entries } from './entries.tsx'
import { Warming } from './warming.tsx'
import { Writers } from './writers.tsx'

/** Namespaces, the entries of one, and what waits to be written. */
export function Cache({ parameters }: ViewProps) {
  const { namespace = 'default', pattern = '', cursor = '', key, writer } = parameters
  const { value, problem } = useReading(() => get<CacheNamespaces>('cache/namespaces'), [])
  return (
    <>
      <Problem text={problem} />
      <Table
        caption="Namespaces"
        columns={['Name', 'Lookups', 'Missed', 'Load', 'Entries', 'Bytes', 'Hottest keys']}
        empty={emptyOf({ value, problem }, 'There are none.')}
        rows={(value?.namespaces ?? []).map(({ name, lookups, missRate, meanLoadTime, entries, bytes, hottest }) => ({
          key: name,
          cells: [
            <a
              key="name"
              href={hashOf('cache', { namespace: name })}
              aria-current={name === namespace ? 'true' : undefined}
            >
              {name}
            </a>,
            formatCount(lookups),
            formatRate(missRate),
            formatMilliseconds(meanLoadTime),
            formatCount(entries),
            formatBytes(bytes),
            <code key="hottest">{hottest.slice(0, 3).join(', ') || '–'}</code>,
          ],
        }))}
      />
      <Entries namespace={namespace} pattern={pattern} cursor={cursor} name={key} />
      <div class="halves">
        <Invalidation namespace={namespace} />
        <Warming key={namespace} namespace={namespace} />
      </div>
      <Writers chosen={writer} />
    </>
  )
}

const WHAT = { keys: 'the key', tags: 'the tag', patterns: 'the pattern' } as const

/** By key, tag or pattern, or all of the namespace. */
function Invalidation({ namespace }: { namespace: string }) {
  const mayAct = useMayAct('cache:invalidate')
  const ask = useAsk()
  const [by, setBy] = useState<keyof typeof WHAT>('keys')
  const [name, setName] = useState('')
  const { run, busy, outcome } = useAction()
  if (!mayAct) return null

  const invalidate = () =>
    run(async () => {
      const title = `Invalidate by ${WHAT[by]} “${name}” in ${namespace}?`
      const text = 'Nothing of it is served any more, on any instance. It is loaded again when it is asked for.'
      if ((await ask({ title, text, action: 'Invalidate' })) === undefined) return undefined
      const path = withQuery('cache/invalidate', { namespace })
      const { invalidated } = await send<CacheInvalidated>('POST', path, { [by]: [name] })
      return by === 'tags'
        ? 'Everything with this tag is invalidated.'
        : `Entries that are invalidated: ${invalidated}.`
    })
  const clear = () =>
    run(async () => {
      const text = 'All of its entries go, on every instance.'
      if ((await ask({ title: `Clear ${namespace}?`, text, action: 'Clear' })) === undefined) return undefined
      await send('POST', withQuery('cache/clear', { namespace }))
      return `${namespace} is empty.`
    })

  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        void invalidate()
      }}
    >
      <h2>Invalidate in {namespace}</h2>
      <div class="bar">
        <Choice
          label="By"
          value={by}
          options={Object.keys(WHAT).map((one) => [one, WHAT[one as keyof typeof WHAT]])}
          onChoose={(one) => setBy(one as keyof typeof WHAT)}
        />
        <label class="choice">
          Name
          <input
            required
            maxLength={512}
            autocapitalize="none"
            spellcheck={false}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="danger" disabled={busy}>
          Invalidate
        </button>
        <button type="button" class="danger" disabled={busy} onClick={clear}>
          Clear all of {namespace}
        </button>
      </div>
      <Outcome outcome={outcome} />
    </form>
  )
}
