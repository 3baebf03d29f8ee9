/**
 * HalfSipHash-1-3 of a key's UTF-16 code units, two to a word (Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF"). A keyed function, not a mere mixer: an attacker who chooses the cache's keys cannot find keys that share their
 * counters in the sketch without knowing the seed.
 */
export function keyHash(key: string, seed0: number, seed1: number): number {
  let v0 = seed0
  let v1 = seed1
  let v2 = seed0 ^ 0x6c796765
  let v3 = seed1 ^ 0x74656462
  const length = key.length
  // One word more than the key has: the last one carries what is left and the length.
  for (let i = 0, last = false; !last; i += 2) {
    last = i + 2 > length
    const word = last
      ? (length << 24) | (length & 1 ? key.charCodeAt(i) : 0)
      : key.charCodeAt(i) | (key.charCodeAt(i + 1) << 16)
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  v2 ^= 0xff
  for (let round = 0; round < 3; round++) {
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
  }
  return v1 ^ v3
}
