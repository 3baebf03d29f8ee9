import { createClient } from 'fastify-stateful/client'

export const client = createClient({ baseUrl: '', initial: globalThis.initial ?? {} })
