import { readFileSync } from 'node:fs'

/**
 * A text file that lies beside the code, such as a script for Redis. The build writes it into the JavaScript, where its
 * URL is one of `data:`: a bundled application has no files beside it.
 * @param url `new URL(` of a literal name, and `import.meta.url)`: by this form the build knows it
 */
export function readText(url: URL): string {
  return url.protocol === 'data:' ? decodeURIComponent(url.pathname.slice(1)) : readFileSync(url, 'utf8')
}
