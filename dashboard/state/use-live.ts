import { useEffect, useState } from 'preact/hooks'
import type { Json } from '../../client/index.ts'
import { live } from '../live.ts'

/** Milliseconds between two looks at what changes all the time: a page need not be drawn for each commit. */
const LOOK_EVERY = 100

interface Live {
  values: Readonly<Record<string, Json>>
  status: string
}

/** What begins with the prefix, as it changes. */
export function useLive(space: string, prefix: string): Live {
  const [now, setNow] = useState<Live>({ values: {}, status: 'connecting' })
  useEffect(() => {
    const replica = live().replica(space, prefix === '' ? {} : { prefix })
    const show = () => setNow({ values: replica.snapshot() as Record<string, Json>, status: replica.status })
    let timer: number | undefined
    const showSoon = () => {
      timer ??= window.setTimeout(() => {
        timer = undefined
        show()
      }, LOOK_EVERY)
    }
    show()
    const stop = replica.subscribe(showSoon)
    return () => {
      window.clearTimeout(timer)
      stop()
      replica.close()
    }
  }, [space, prefix])
  return now
}
