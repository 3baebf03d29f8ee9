/** `run.ts <list.json> <outcomes.json>`: runs one snippet after the other, each with what `given.ts` has for it alone. */
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'

export interface Runnable {
  place: string
  /** The module; it imports `./given.ts`. */
  file: string
  /** The plugins that it registers itself. */
  own: string[]
}

// Some are for a browser, which has one.
Object.assign(globalThis, { WebSocket })

const [list = '', outcomes = ''] = process.argv.slice(2)
const failures: Record<string, string> = {}

for (const { place, file, own } of JSON.parse(await readFile(list, 'utf8')) as Runnable[]) {
  const given = new URL('./given.ts', import.meta.url)
  given.search = String(new URLSearchParams([['for', place], ...own.map((name) => ['own', name])]))
  const code = await readFile(file, 'utf8')
  await writeFile(
    file,
    code.replace(/'\.\/given\.ts'|"\.\/given\.ts"/g, () => `'${given.href}'`),
  )
  const { end } = (await import(given.href)) as typeof import('./given.ts')
  await inTime(import(pathToFileURL(file).href).then(end)).catch((error) => {
    failures[place] = error instanceof Error ? (error.stack ?? error.message) : String(error)
  })
}
await writeFile(outcomes, JSON.stringify(failures))
// Whatever a snippet left open, or one that failed.
process.exit()

async function inTime(running: Promise<unknown>): Promise<void> {
  const late = delay(20_000, undefined, { ref: false }).then(() => {
    throw new Error('It did not end within 20 s.')
  })
  await Promise.race([running, late])
}
