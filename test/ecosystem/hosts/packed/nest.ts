/** A NestJS application on its Fastify adapter: tells what it found as one line of JSON. */
import 'reflect-metadata'
import { Controller, Get, HttpException, Injectable, Module, Req } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { accounts, authRoutes, documentation, serverOptions, stateful, stateRoutes, syncRoutes } from 'fastify-stateful'

@Injectable()
class Catalogue {
  readonly items = ['Lamp']
}

@Controller('catalogue')
class CatalogueController {
  constructor(private readonly catalogue: Catalogue) {}

  @Get()
  async list(@Req() request: FastifyRequest) {
    const { server, session } = request
    await server.state.increment('views')
    const items = await server.cache.getOrSet('items', async () => this.catalogue.items, { ttl: '5m' })
    return { items, views: server.state.get('views'), user: session.user?.username ?? null }
  }

  @Get('gone')
  gone() {
    throw new HttpException('sold out', 410)
  }
}

@Module({ controllers: [CatalogueController], providers: [Catalogue] })
class Shop {}

async function main() {
  const { http: _, ...options } = serverOptions()
  const app = await NestFactory.create<NestFastifyApplication>(Shop, new FastifyAdapter(options), { logger: false })
  const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance
  const secret = `${process.env.SECRET}`
  await app.register(documentation as never, { openapi: { info: { title: 'Shop' } } } as never)
  await app.register(stateful as never, { storage: 'memory:', secret, session: { production: false } } as never)
  await app.register(accounts as never, { bootstrap: { password: process.env.PASSWORD } } as never)
  await app.register(authRoutes as never, { prefix: '/api' } as never)
  await app.register(stateRoutes as never, { prefix: '/api' } as never)
  await app.register(syncRoutes as never, { prefix: '/api' } as never)
  await app.listen(0, '127.0.0.1')
  const url = await app.getUrl()
  const json = { 'content-type': 'application/json' }
  const body = JSON.stringify({ username: 'admin', password: process.env.PASSWORD })
  const login = await fetch(`${url}/api/login`, { method: 'POST', headers: json, body })
  const cookie = `${login.headers.get('set-cookie')?.split(';')[0]}`
  const read = async (path: string) => (await fetch(url + path, { headers: { cookie } })).json()
  const document = (await read('/openapi.json')) as { info: { title: string }; paths: object }
  const told = {
    login: login.status,
    catalogue: await read('/catalogue'),
    gone: await read('/catalogue/gone'),
    state: await read('/api/state/keys/views'),
    problem: await (await fetch(`${url}/api/state`)).json(),
    title: document.info.title,
    paths: Object.keys(document.paths),
    socket: await firstMessage(`${url.replace('http', 'ws')}/api/sync?space=app`, cookie),
  }
  await app.close()
  process.stdout.write(JSON.stringify({ ...told, closed: !fastify.server.listening }))
}

async function firstMessage(url: string, cookie: string): Promise<unknown> {
  const { WebSocket } = await import('ws')
  const socket = new WebSocket(url, { headers: { cookie } })
  return new Promise((resolve, reject) => {
    socket.on('message', (data) => {
      resolve(JSON.parse(`${data}`))
      socket.close()
    })
    socket.on('error', reject)
  })
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
