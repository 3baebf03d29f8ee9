import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

/** How the texts of a record are written into the store. */
export interface Sealer {
  /** @param place names the record and the field, so that a text cannot be moved to another */
  seal(place: string, text: string): string
  /** `undefined` when it was not sealed by any of the keys, or for another place. */
  open(place: string, sealed: string): string | undefined
  /** Whether it should be sealed again, because the first key has changed. */
  isStale(sealed: string): boolean
}

const IV_BYTES = 12
const TAG_BYTES = 16
const KEY_ID_LENGTH = 8

/**
 * AES-256-GCM under keys that are derived (HKDF-SHA256) from secrets: the first seals, all open. A sealed text is
 * `<key id>.<base64url of iv, tag and ciphertext>`; its place is authenticated with it. The random 96-bit iv is
 * good for 2^32 texts a key (NIST SP 800-38D §8.3).
 */
export function aesSealer(secrets: readonly string[]): Sealer {
  const keys = secrets.map((secret) => ({
    id: Buffer.from(hkdfSync('sha256', secret, '', 'fastify-stateful session key id', 6)).toString('base64url'),
    key: Buffer.from(hkdfSync('sha256', secret, '', 'fastify-stateful session data', 32)),
  }))
  const [first] = keys
  if (!first) throw new TypeError('at least one secret is needed')
  return {
    seal(place, text) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', first.key, iv).setAAD(Buffer.from(place))
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return `${first.id}.${Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64url')}`
    },
    open(place, sealed) {
      const key = keys.find(({ id }) => sealed.startsWith(`${id}.`))?.key
      const bytes = Buffer.from(sealed.slice(KEY_ID_LENGTH + 1), 'base64url')
      if (!key || bytes.length < IV_BYTES + TAG_BYTES) return undefined
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
        .setAAD(Buffer.from(place))
        .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
      try {
        const text = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES))
        return Buffer.concat([text, decipher.final()]).toString('utf8')
      } catch {
        // The tag does not fit: altered, moved, or of a secret that derives the same key id.
        return undefined
      }
    },
    isStale: (sealed) => !sealed.startsWith(`${first.id}.`),
  }
}
