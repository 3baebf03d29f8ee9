import { readFile } from 'node:fs/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { eventually } from '../fixtures/eventually.ts'
import { readExposition, readQuery, type Selector } from '../fixtures/prometheus.ts'

interface Panel {
  type: string
  title: string
  description?: string
  gridPos: { x: number; y: number; w: number; h: number }
  fieldConfig?: { defaults: { unit?: string } }
  targets?: { expr: string; legendFormat: string }[]
}

const dashboard = JSON.parse(
  await readFile(new URL('../../docs/grafana/fastify-stateful.json', import.meta.url), 'utf8'),
)
const panels = dashboard.panels as Panel[]
const charts = panels.filter(({ type }) => type !== 'row')
/** What a scraper adds to each series. */
const OF_THE_SCRAPER = ['job', 'instance']

/** What Grafana fills in before it asks. */
const filledIn = (expr: string) => expr.replaceAll('$__rate_interval', '5m')

/** The metrics of an application in which each service has done something. */
async function metricsOf(app: Awaited<ReturnType<typeof testApp>>) {
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const admin = await loggedIn(app)
  await app.cache.getOrSet('a', () => 1)
  await app.state.set('a', 1)
  const socket = new WebSocket(`${address.replace('http', 'ws')}/sync?space=app`, { headers: { cookie: admin.cookie } })
  await new Promise((resolve) => socket.once('message', resolve))
  socket.close(1000)
  await eventually(() => app.sync.stats().closes['1000'] === 1)
  return readExposition((await admin({ url: '/metrics' })).body)
}

t.test('every panel asks for what GET /metrics answers, by labels that it has', async (t) => {
  const metrics = await metricsOf(await testApp(t))
  const labelsOf = ({ name }: Selector) => {
    const metric = metrics.get(name) ?? metrics.get(name.replace(/_(bucket|sum|count)$/, ''))
    const series = metric?.series.filter((one) => one.name === name) ?? []
    return series.length > 0 ? new Set(series.flatMap(({ labels }) => Object.keys(labels))) : undefined
  }
  t.ok(charts.length > 30)
  for (const { title, targets = [] } of charts) {
    t.ok(targets.length > 0, `${title} asks something`)
    for (const { expr, legendFormat } of targets) {
      const { selectors, groupings } = readQuery(filledIn(expr))
      t.ok(selectors.length > 0, expr)
      for (const selector of selectors) {
        const labels = labelsOf(selector)
        t.ok(labels, `${title}: there is ${selector.name}`)
        const named = [...Object.keys(selector.labels), ...groupings]
        const unknown = named.filter((label) => !labels?.has(label) && !OF_THE_SCRAPER.includes(label))
        t.same(unknown, [], `${title}: ${selector.name} has the labels`)
        t.same(selector.labels, { ...selector.labels, job: '$job', instance: '$instance' }, 'of what was chosen')
        const grows = metrics.get(selector.name)?.type === 'counter' || /_(bucket|count)$/.test(selector.name)
        t.equal(expr.includes(`rate(${selector.name}{`), grows, `${title}: what only grows is shown as a rate`)
      }
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        t.ok(groupings.includes(label), `${title}: the legend has ${label}`)
      }
    }
  }
})

t.test('every panel says what it shows, and in which unit', async (t) => {
  for (const { title, description, fieldConfig } of charts) {
    t.ok(title && description?.endsWith('.'), `${title}: a description`)
    t.ok(fieldConfig?.defaults.unit, `${title}: a unit`)
  }
  t.equal(new Set(charts.map(({ title }) => title)).size, charts.length, 'no two are called the same')
})

t.test('panels do not overlap', async (t) => {
  const cells = new Set<string>()
  for (const { title, gridPos } of panels) {
    const { x, y, w, h } = gridPos
    t.ok(x >= 0 && x + w <= 24, title)
    const own: string[] = []
    for (let column = x; column < x + w; column++) {
      for (let line = y; line < y + h; line++) own.push(`${column} ${line}`)
    }
    t.notOk(
      own.find((cell) => cells.has(cell)),
      title,
    )
    for (const cell of own) cells.add(cell)
  }
})

t.test('its variables are asked of a metric that there is', async (t) => {
  const variables = dashboard.templating.list as { name: string; definition?: string }[]
  t.same(
    variables.map(({ name }) => name),
    ['datasource', 'job', 'instance'],
  )
  for (const { definition } of variables) if (definition) t.match(definition, /^label_values\(process_uptime_seconds\b/)
})
