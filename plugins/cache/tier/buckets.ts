/**
 * Where a key lies. A namespace of the cache consists of buckets, and each key is in one of them for good:
 *
 * ```text
 * namespace 'default'   one server, Sentinels:  the bucket 'default'               fs:cache:{default}:v:user:1
 *                       a Redis Cluster:        'default:0.5' … 'default:15.20'    fs:cache:{default:7.31}:v:user:1
 *                                                                       slots of the 8th sixteenth ┘
 * key ── hash of the key ──▶ number of the bucket ── its name is the hash tag ──▶ slot ──▶ shard
 * ```
 *
 * A bucket is all that one step of Redis can reach, so it is complete in itself: it has a head (epoch, sequence number,
 * generation), stamps, an index, a bus and a part of each journal of write-behind of its own. What is said of one key is
 * decided in its bucket alone, with all the guarantees of contract.ts. What is said of many (a tag, a prefix, a pattern,
 * all) is said to each bucket by itself, and is done when every one of them has confirmed it: a constant number of steps
 * for a shard, however many entries there are. Until then some buckets have heard of it and others have not, as if it came
 * a little later for their keys; when one does not confirm it, it has failed, and saying it again does no harm.
 */
/**
 * Of each namespace on a Cluster. A constant, for it decides where a key lies: instances that counted differently would
 * not see what the others invalidate.
 */
export const BUCKETS = 16

/** The namespace of a bucket: names of namespaces have no colon. */
export const namespaceOf = (bucket: string): string => bucket.split(':', 1)[0] as string

/** Which part of the slots a bucket lies in, `''` where there is only one. */
export function partOf(bucket: string): string {
  const colon = bucket.indexOf(':')
  return colon === -1 ? '' : bucket.slice(colon + 1, bucket.indexOf('.', colon))
}

/** Number of the bucket that has the key: the same in every process and version (FNV-1a of its UTF-16 units). */
export function placeOf(key: string, buckets: number): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  // The low bits alone depend on the low bits of the characters alone.
  hash ^= hash >>> 15
  return (hash >>> 0) % buckets
}
