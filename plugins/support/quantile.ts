/**
 * A quantile of a histogram, interpolated inside its bucket as Prometheus' `histogram_quantile` does: what is
 * above the highest bound counts as that bound, since nothing is known about it but that it is larger.
 *
 * @param bounds upper bounds, ascending
 * @param counts one a bound and one for what is above them
 * @param q from 0 to 1
 */
export function quantile(bounds: readonly number[], counts: readonly number[], q: number): number {
  const rank = q * counts.reduce((sum, count) => sum + count, 0)
  let below = 0
  for (const [index, bound] of bounds.entries()) {
    const count = counts[index] ?? 0
    if (count > 0 && below + count >= rank) {
      const lower = bounds[index - 1] ?? 0
      return lower + ((bound - lower) * (rank - below)) / count
    }
    below += count
  }
  return below < rank ? (bounds.at(-1) ?? 0) : 0
}

/** The percentiles that are reported, of one instance or of several whose buckets were added. */
export function percentiles(bounds: readonly number[], counts: readonly number[]) {
  return {
    p50: quantile(bounds, counts, 0.5),
    p95: quantile(bounds, counts, 0.95),
    p99: quantile(bounds, counts, 0.99),
  }
}
