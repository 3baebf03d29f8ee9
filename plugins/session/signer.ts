import { createHmac, timingSafeEqual } from 'node:crypto'

export interface SessionSigner {
  sign(value: string): string
  unsign(input: string): { valid: boolean; renew: boolean; value: string | null }
}

/**
 * Signs as @fastify/cookie does (`value.base64(HMAC)`), but with the secret that is the first now: the array may
 * be changed while it is in use (`secrets.unshift(next)`), which @fastify/cookie notices only for verifying.
 */
export function liveSigner(secrets: string | string[], algorithm = 'sha256'): SessionSigner {
  const list = typeof secrets === 'string' ? [secrets] : secrets
  const mac = (value: string, secret: string) =>
    createHmac(algorithm, secret).update(value).digest('base64').replaceAll('=', '')
  return {
    sign: (value) => `${value}.${mac(value, list[0] ?? '')}`,
    unsign(input) {
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
    },
  }
}
