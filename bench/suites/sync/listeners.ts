import { once } from 'node:events'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { createMergeableStore } from 'tinybase'
import { createWsSynchronizer } from 'tinybase/synchronizers/synchronizer-ws-client'
import { WebSocket } from 'ws'

/** What one client has heard of the key: `<change> <sent at> …`. */
export class Listener {
  received = 0
  /** The number of the newest change. */
  latest = 0
  /** Milliseconds from the write to here. */
  delays: number[] = []
  close = () => {}
  #waiting: { count: number; resolve(): void } | undefined

  hear(change: number, sentAt: number): void {
    this.received++
    this.latest = change
    this.delays.push(performance.timeOrigin + performance.now() - sentAt)
    if (this.#waiting && this.received >= this.#waiting.count) this.#waiting.resolve()
  }

  hearValue(value: unknown): void {
    const [change, sentAt] = `${value}`.split(' ')
    this.hear(Number(change), Number(sentAt))
  }

  /** Resolves when so many changes have arrived, or after a while. */
  async reached(count: number): Promise<void> {
    if (this.received >= count) return
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(resolve, 5_000)
      this.#waiting = {
        count,
        resolve: () => {
          clearTimeout(deadline)
          resolve()
        },
      }
    })
    this.#waiting = undefined
  }
}

export async function listen(kind: string, url: string): Promise<Listener> {
  const listener = new Listener()
  if (kind === 'hocuspocus') await listenToHocuspocus(listener, url)
  else if (kind === 'tinybase') await listenToTinyBase(listener, url)
  else await listenToText(listener, kind === 'fastify-stateful' ? `${url}/sync?space=app` : url)
  return listener
}

async function listenToText(listener: Listener, url: string): Promise<void> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  listener.close = () => socket.terminate()
  socket.on('message', (data) => {
    const text = data.toString()
    // Socket.IO's handshake: joins the default namespace.
    if (text.startsWith('0{')) socket.send('40')
    if (text === '2') socket.send('3')
    if (text.startsWith('{"type":"fullSync"')) return
    // Socket.IO escapes the text that it carries.
    for (const [, change, sentAt] of text.matchAll(/\\?"value\\?":\\?"(\d+) ([\d.]+) /g)) {
      listener.hear(Number(change), Number(sentAt))
    }
  })
  await once(socket, 'open')
}

async function listenToHocuspocus(listener: Listener, url: string): Promise<void> {
  const websocketProvider = new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket })
  const provider = new HocuspocusProvider({ websocketProvider, name: 'app' })
  listener.close = () => {
    provider.destroy()
    websocketProvider.destroy()
  }
  const synced = new Promise<void>((resolve) => provider.on('synced', () => resolve()))
  provider.attach()
  await synced
  const map = provider.document.getMap('state')
  map.observe(() => listener.hearValue(map.get('hot')))
}

async function listenToTinyBase(listener: Listener, url: string): Promise<void> {
  const store = createMergeableStore()
  const synchronizer = await createWsSynchronizer(store, new WebSocket(url))
  listener.close = () => {
    void synchronizer.destroy()
  }
  await synchronizer.startSync()
  store.addCellListener('state', 'row', 'hot', (_store, _table, _row, _cell, value) => listener.hearValue(value))
}
