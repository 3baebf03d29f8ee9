import { randomFillSync } from 'node:crypto'

/** Random bytes come in one system call for many texts. */
const pool = Buffer.alloc(4_096)
let used = pool.length

/** Text of so many random bytes, in the letters of base64url. Fit to be a secret. */
export function randomText(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const text = pool.toString('base64url', used, used + bytes)
  // Nothing that was handed out stays behind in memory.
  pool.fill(0, used, used + bytes)
  used += bytes
  return text
}
