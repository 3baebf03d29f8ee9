import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { columns, type Point, type SeriesName } from './points.ts'

export interface Line {
  name: SeriesName
  label: string
  /** A custom property of the style sheet, so that light and dark have their own colours. */
  color: string
}

interface ChartProps {
  title: string
  lines: readonly Line[]
  points: readonly Point[]
  format: (value: number | null) => string
  /** The axis' highest value when there is one. */
  top?: number
  /** Distances that lines of the grid may have. Default: those of decimal numbers. */
  steps?: readonly number[]
  /** Seconds that the time axis shows. */
  span: number
  /** Changes when the colours do: a canvas does not follow the style sheet by itself. */
  theme: string
}

const HEIGHT = 180
/** Lines over time. The canvas is decoration for a screen reader; the legend beside it holds the latest values. */
export function Chart({ title, lines, points, format, top, steps, span, theme }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const latest = points.at(-1)

  // Once a theme and a range: the points that come later are given to the same plot by the effect below.
  useEffect(() => {
    const element = box.current
    if (!element) return
    const style = getComputedStyle(element)
    const color = (name: string) => style.getPropertyValue(name).trim()
    const axis = { stroke: color('--muted'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } }
    const created = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: {
          x: { range: () => [Date.now() / 1_000 - span, Date.now() / 1_000] },
          y: { range: (_plot, _low, high) => [0, top ?? Math.max(high * 1.1, 1)] },
        },
        axes: [
          { ...axis, size: 28, values: '{HH}:{mm}' as unknown as uPlot.Axis.Values, space: 60 },
          {
            ...axis,
            ...(steps ? { incrs: [...steps] } : {}),
            size: 70,
            values: (_plot, ticks) => ticks.map((tick) => format(tick)),
          },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.label,
            stroke: color(line.color),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      columns(
        points,
        lines.map(({ name }) => name),
      ) as uPlot.AlignedData,
      element,
    )
    plot.current = created
    const observer = new ResizeObserver(() => created.setSize({ width: element.clientWidth, height: HEIGHT }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      created.destroy()
    }
  }, [theme, span])

  useEffect(() => {
    plot.current?.setData(
      columns(
        points,
        lines.map(({ name }) => name),
      ) as uPlot.AlignedData,
    )
  }, [points, lines])

  return (
    <figure class="chart">
      <figcaption>
        <h2>{title}</h2>
        <ul class="legend">
          {lines.map((line) => (
            <li key={line.name}>
              <span class={`swatch ${line.color.slice(2)}`} aria-hidden="true" />
              {line.label} <strong>{format(latest?.[line.name] ?? null)}</strong>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} class="plot" aria-hidden="true" />
    </figure>
  )
}
