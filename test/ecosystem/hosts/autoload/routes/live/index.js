import { stateRoutes } from '../../../../../../routes/state/index.ts'
import { syncRoutes } from '../../../../../../routes/sync/index.ts'

export default async (app) => {
  await app.register(stateRoutes)
  await app.register(syncRoutes)
}
