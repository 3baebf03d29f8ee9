import { readText } from './text.ts'

/** The version of this package, from its manifest. */
export function packageVersion(): string {
  return (JSON.parse(readText(new URL('../../package.json', import.meta.url))) as { version: string }).version
}
