import { MissingPackageError } from './errors.ts'

/**
 * For packages that only one service needs and that npm does not install by itself. An import with `catch` is one that
 * bundlers let pass when the package is not there.
 *
 * @param name of the package
 * @param service whose plugin needs it
 * @throws STATEFUL_MISSING_PACKAGE instead of Node's error, unless the package is there and something else is wrong
 * @example import('helmet').catch(missingFor('helmet', 'security'))
 */
export function missingFor(name: string, service: string): (error: unknown) => never {
  return (error) => {
    const { code, message } = error as NodeJS.ErrnoException
    const isMissing = (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && message.includes(`'${name}'`)
    throw isMissing ? new MissingPackageError(service, name, { cause: error }) : error
  }
}
