/** The client alone; a test drives it from outside. */

import { createClient } from 'fastify-stateful/client'
import { replicaEvents } from 'fastify-stateful/client/adapters'

Object.assign(globalThis, { createClient, replicaEvents, client: createClient({ baseUrl: '' }) })
