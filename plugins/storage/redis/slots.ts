import slotOf from 'cluster-key-slot'

const SLOTS = 16_384
/** How far from the middle of its part a tag may lie, in parts: then no gap between two is longer than 17/16 of one. */
const ASIDE = 1 / 32

/**
 * So many hash tags, `<name>:<part>.<n>`, at equal distances from each other: the nth lies in the middle of the nth part
 * of all slots. Shards are ranges of slots, so each of equally long ones, if there are no more of them than tags, has at
 * least one, and about as many as the others. `n` is the first number that does it.
 */
export function evenTags(name: string, parts: number): string[] {
  return Array.from({ length: parts }, (_, part) => {
    for (let n = 0; ; n++) {
      const tag = `${name}:${part}.${n}`
      if (Math.abs((slotOf(tag) * parts) / SLOTS - part - 0.5) < ASIDE) return tag
    }
  })
}
