/** The client alone; a test drives it from outside. */
import { replicaEvents } from 'fastify-stateful/client/adapters'
import { createClient } from 'fastify-stateful/client'

Object.assign(globalThis, { createClient, replicaEvents, client: createClient({ baseUrl: '' }) })
