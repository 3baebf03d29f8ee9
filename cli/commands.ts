/** The table of the commands. Each is loaded when it runs, so that `--help` waits for none of them. */

import { Argument, Command, Option } from '@commander-js/extra-typings'
import { ROLES } from '../openapi/schemas/roles.ts'
import { packageVersion } from '../plugins/support/version.ts'
import { jsonOption, jsonValue, spaceOption, storageOption, tokenOption, urlOption, wholeNumber } from './options.ts'
import { hasColours } from './output.ts'

/** The program with all its commands; it throws CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command('fastify-stateful')
    .description('Runs, looks at and looks after an application on fastify-stateful.')
    .version(packageVersion())
    .exitOverride()
    .showHelpAfterError('(`fastify-stateful --help` lists the commands)')
    .configureOutput({
      getOutHasColors: () => hasColours(process.stdout),
      getErrHasColors: () => hasColours(process.stderr),
    })
    .configureHelp({ styleTitle: (title) => `\u001b[1m${title}\u001b[22m` })
  addApplication(program)
  addState(program)
  addPeople(program)
  addStorage(program)
  return program as unknown as Command
}

function addApplication(program: Command): void {
  program
    .command('serve')
    .description('run the reference server, as `npm start` in a clone does')
    .option('--host <host>', 'address to listen on (HOST)')
    .option('--port <port>', 'port to listen on (PORT)', wholeNumber)
    .option('--storage <url>', 'where it stores (STORAGE)')
    .action(async (options) => (await import('./serve.ts')).serve(options))
  program
    .command('init')
    .description('write a starter application: .env with secrets, Dockerfile, a test')
    .addArgument(new Argument('[folder]', 'an empty one').default('.'))
    .addOption(jsonOption())
    .action(async (folder, options) => (await import('./init.ts')).init(folder, options))
  program
    .command('doctor')
    .description('look whether everything that a server here needs is in order, and say what to do')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (options) => (await import('./doctor.ts')).doctor(options))
  program
    .command('routes')
    .description('list the routes with what a caller must be allowed to do')
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (options) => (await import('./routes.ts')).routes(options))
  program
    .command('openapi')
    .description('print the OpenAPI document, of the reference server or of one that runs')
    .option('--asyncapi', 'the AsyncAPI document of the live messages instead')
    .option('--output <file>', 'write it to a file')
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (options) => (await import('./openapi.ts')).openapi(options))
}

function addState(program: Command): void {
  program
    .command('get')
    .description('print what a key of the state holds')
    .argument('<key>')
    .addOption(spaceOption())
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (key, options) => (await import('./get.ts')).get(key, options))
  program
    .command('set')
    .description('set a key of the state')
    .argument('<key>')
    .argument('<value>', 'JSON; a text has quotes of its own', jsonValue)
    .option('--ttl <ms>', 'milliseconds until it is deleted', wholeNumber)
    .addOption(spaceOption())
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (key, value, options) => (await import('./set.ts')).set(key, value, options))
  program
    .command('watch')
    .description('print what keys hold, and each change of them, live')
    .argument('[prefix]', 'of the keys; without it all')
    .option('--count <n>', 'end after so many lines', wholeNumber)
    .addOption(spaceOption())
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (prefix, options) => (await import('./watch.ts')).watch(prefix, options))
  program
    .command('tail')
    .description('print the commits of a space live, or the messages between instances')
    .argument('<space|bus>')
    .option('--count <n>', 'end after so many lines', wholeNumber)
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (space, options) => (await import('./tail.ts')).tail(space, options))
}

function addPeople(program: Command): void {
  const sessions = program.command('sessions').description('look at and end sessions')
  sessions
    .command('list')
    .description('list the sessions of a user')
    .argument('<user>', 'username, or id')
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (user, options) => (await import('./sessions.ts')).listSessions(user, options))
  sessions
    .command('revoke')
    .description('end sessions by their handles, or all of a user')
    .argument('[handle...]')
    .option('--user <user>', 'whose they are; without handles all of that user')
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (handles, options) => (await import('./sessions.ts')).revokeSessions(handles, options))

  const users = program.command('users').description('look after accounts')
  users
    .command('list')
    .description('list accounts')
    .argument('[prefix]', 'of their names; without it all')
    .addOption(new Option('--role <role>', 'only those').choices(ROLES))
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (prefix, options) => (await import('./users.ts')).listUsers(prefix, options))
  users
    .command('create')
    .description('create an account; its password is shown once')
    .argument('<username>')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).default('user' as const))
    .addOption(storageOption())
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .action(async (username, options) => (await import('./users.ts')).createUser(username, options))
  const changes = [
    ['disable', 'refuse logins to an account, and end its sessions', 'disableUser'],
    ['enable', 'let an account log in again', 'enableUser'],
    ['reset', 'set a new password, which is shown once, and end the sessions', 'resetUser'],
    ['delete', 'delete an account and end its sessions', 'deleteUser'],
  ] as const
  for (const [name, description, run] of changes) {
    users
      .command(name)
      .description(description)
      .argument('<username>')
      .addOption(storageOption())
      .addOption(urlOption())
      .addOption(tokenOption())
      .addOption(jsonOption())
      .action(async (username, options) => (await import('./users.ts'))[run](username, options))
  }

  program
    .command('admin')
    .description('the way back in for an administrator, where the storage is')
    .command('reset')
    .description('give an administrator a new password, or make the account')
    .addArgument(new Argument('[username]').default('admin'))
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (username, options) => (await import('./admin.ts')).resetAdministrator(username, options))
}

function addStorage(program: Command): void {
  program
    .command('export')
    .description('write accounts, access tokens, sessions, state and dead letters to a file, for another storage')
    .argument('<file>', 'JSON, one document a line; compressed when its name ends in .gz')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (file, options) => (await import('./export.ts')).exportTo(file, options))
  program
    .command('import')
    .description('write an export into a storage; one that was interrupted goes on where it was')
    .argument('<file>', 'that `export` has written')
    .option('--restart', 'begin at the start, even if a part was written before')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (file, options) => (await import('./import.ts')).importFrom(file, options))
  program
    .command('backup')
    .description('write a backup of an LMDB folder, beside the server too')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (options) => (await import('./backup.ts')).backup(options))
  program
    .command('restore')
    .description("put a backup in the place of an LMDB folder's database, with the server stopped")
    .argument('<backup>', 'its file')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (file, options) => (await import('./restore.ts')).restore(file, options))
  program
    .command('verify')
    .description('read and check all of an LMDB folder, beside the server too')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (options) => (await import('./verify.ts')).verify(options))
  program
    .command('salvage')
    .description('keep what is sound of a damaged LMDB folder, with the server stopped')
    .addOption(storageOption())
    .addOption(jsonOption())
    .action(async (options) => (await import('./salvage.ts')).salvage(options))
}
