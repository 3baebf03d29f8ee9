import { openFilesLimit } from '../../plugins/connection-limit/open-files.ts'
import { isProduction } from '../../plugins/support/production.ts'
import { DEFAULT_STORAGE } from '../options.ts'
import { type Check, type Finding, failure, type Surroundings } from './check.ts'
import { backups, disk, folder } from './folder.ts'
import { node, openFiles } from './node.ts'
import { instances, redis, storageKind, transport } from './redis.ts'
import { adminPassword, allowedOrigins, cookies, port, sessionSecret, trustProxy, variables } from './settings.ts'

/** All checks, in the order in which a person would look. */
export const CHECKS: readonly Check[] = [
  ...[node, openFiles, variables, sessionSecret, adminPassword, cookies, trustProxy, allowedOrigins, port],
  ...[storageKind, folder, disk, backups, transport, redis, instances],
]

/** Runs every check. @param given instead of what is so */
export async function diagnose(environment: NodeJS.ProcessEnv, given: Partial<Surroundings> = {}): Promise<Finding[]> {
  const surroundings: Surroundings = {
    environment,
    production: isProduction(environment['NODE_ENV'] ?? ''),
    storage: environment['STORAGE'] || DEFAULT_STORAGE,
    nodeVersion: process.versions.node,
    openFiles: openFilesLimit(),
    now: Date.now,
    ...given,
  }
  const findings: Finding[] = []
  for (const check of CHECKS) {
    try {
      findings.push(...(await check(surroundings)))
    } catch (error) {
      findings.push(failure('doctor', (error as Error).message, 'Remove the cause; the other checks went on.'))
    }
  }
  return findings
}
