import { type Histogram, isHistogram } from './catalogue.ts'
import type { Labels, Metric, Sample } from './metrics.ts'

/** Of {@link exposition}: version 0.0.4 is what every scraper reads. */
export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export type Measured = Pick<Metric, 'prometheus' | 'kind' | 'help'> & { samples: readonly Sample[] }

/** Metrics as Prometheus text. What has no sample is left out. */
export function exposition(metrics: readonly Measured[]): string {
  return metrics
    .filter(({ samples }) => samples.length > 0)
    .map(textOf)
    .join('\n')
}

function textOf({ prometheus, kind, help, samples }: Measured): string {
  const name = kind === 'counter' ? `${prometheus}_total` : prometheus
  const lines = samples.flatMap(({ labels, value }) =>
    typeof value === 'object' && isHistogram(value)
      ? histogramLines(name, labels, value)
      : [`${name}${labelText(labels)} ${value}`],
  )
  return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${kind}`, ...lines, ''].join('\n')
}

/** In seconds and cumulative, as Prometheus has it. */
function histogramLines(name: string, labels: Labels, { sum, bounds, counts }: Histogram): string[] {
  let below = 0
  const buckets = counts.map((count, index) => {
    below += count
    const bound = bounds[index]
    const le = bound === undefined ? '+Inf' : `${bound / 1_000}`
    return `${name}_bucket${labelText({ ...labels, le })} ${below}`
  })
  return [...buckets, `${name}_sum${labelText(labels)} ${sum / 1_000}`, `${name}_count${labelText(labels)} ${below}`]
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}
