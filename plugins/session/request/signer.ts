import { createHmac, timingSafeEqual } from 'node:crypto'
import { Remembered } from '../remembered.ts'

export interface SessionSigner {
  sign(value: string): string
  unsign(input: string): { valid: boolean; renew: boolean; value: string | null }
}

type Verified = ReturnType<SessionSigner['unsign']>

/** Cookies whose signature is not worked out again; twice as many at most, about 5 MiB. */
const REMEMBERED = 5_000

/**
 * Signs as @fastify/cookie does (`value.base64(HMAC)`), but with the secret that is the first now: the array may
 * be changed while it is in use (`secrets.unshift(next)`), which @fastify/cookie notices only for verifying.
 *
 * A signature is worked out once: what was signed or found valid is remembered until the secrets change. Nothing
 * that is invalid is, so that forgeries cannot fill the memory.
 */
export function liveSigner(secrets: string | string[], algorithm = 'sha256'): SessionSigner {
  const list = typeof secrets === 'string' ? [secrets] : secrets
  const verified = new Remembered<Verified>(REMEMBERED)
  const signed = new Remembered<string>(REMEMBERED)
  let known = [...list]
  const mac = (value: string, secret: string) =>
    createHmac(algorithm, secret).update(value).digest('base64').replaceAll('=', '')

  function isCurrent() {
    if (known.length !== list.length) return false
    for (let index = 0; index < known.length; index++) if (known[index] !== list[index]) return false
    return true
  }

  function forgetAfterRotation() {
    if (isCurrent()) return
    known = [...list]
    verified.clear()
    signed.clear()
  }

  function verify(input: string): Verified {
    const dot = input.lastIndexOf('.')
    const value = input.slice(0, Math.max(dot, 0))
    const given = Buffer.from(input.slice(dot + 1))
    for (const [index, secret] of list.entries()) {
      const expected = Buffer.from(mac(value, secret))
      if (dot > 0 && given.length === expected.length && timingSafeEqual(given, expected)) {
        return { valid: true, renew: index > 0, value }
      }
    }
    return { valid: false, renew: false, value: null }
  }

  return {
    sign(value) {
      forgetAfterRotation()
      let input = signed.get(value)
      if (input === undefined) {
        input = `${value}.${mac(value, list[0] ?? '')}`
        signed.set(value, input)
      }
      return input
    },
    unsign(input) {
      forgetAfterRotation()
      let result = verified.get(input)
      if (result === undefined) {
        result = verify(input)
        if (result.valid) verified.set(input, result)
      }
      return result
    },
  }
}
