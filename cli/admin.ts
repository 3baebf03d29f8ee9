import { recoverAdministrator } from '../plugins/accounts/recovery.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output } from './output.ts'
import { withServices } from './services.ts'

/**
 * A way back in for an administrator, where the storage is: the account can log in with a new password and no session of
 * it is left. Where there is none it is made. See docs/accounts.md.
 */
export async function resetAdministrator(
  username: string | undefined,
  options: StorageOption & JsonOption,
): Promise<void> {
  const { user, password, created, ended } = await withServices(options.storage, (app) =>
    recoverAdministrator(app, username),
  )
  new Output(options).result({ username: user.username, password, created, ended }, [
    `${created ? 'created' : 'reset'}: administrator ${user.username}, password ${password} (shown this once)`,
    ...(created ? [] : [`ended sessions: ${ended}`]),
  ])
}
