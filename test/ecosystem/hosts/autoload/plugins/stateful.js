import fp from 'fastify-plugin'
import { accounts } from '../../../../../plugins/accounts/index.ts'
import { documentation } from '../../../../../plugins/documentation/index.ts'
import { stateful } from '../../../../../plugins/stateful/index.ts'
import { ADMIN_PASSWORD, SECRET } from '../../../../fixtures/credentials.ts'

export default fp(async (app) => {
  await app.register(documentation, { openapi: { info: { title: 'Shop' } } })
  await app.register(stateful, { storage: 'memory:', secret: SECRET, session: { production: false } })
  await app.register(accounts, { bootstrap: { password: ADMIN_PASSWORD } })
})
