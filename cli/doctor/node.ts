import { type Check, failure, pass, warning } from './check.ts'

/** Major versions that get no security updates any more. */
const ENDED = 20
/** The oldest that the package runs on. */
const OLDEST = [20, 19]
/** Open files below which a server of a few thousand connections refuses some. */
const FEW_FILES = 4_096

export const node: Check = ({ nodeVersion }) => {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    return [failure('Node.js', nodeVersion, `Install ${OLDEST.join('.')} or newer, best the latest LTS.`)]
  }
  if (major <= ENDED) {
    return [warning('Node.js', `${nodeVersion} gets no security updates any more`, 'Move to the latest LTS.')]
  }
  return [pass('Node.js', nodeVersion)]
}

export const openFiles: Check = ({ openFiles: limit, environment }) => {
  const wanted = Number(environment['MAX_CONNECTIONS'] || 0)
  if (wanted > limit) {
    return [
      failure(
        'open files',
        `MAX_CONNECTIONS is ${wanted}, and the process may have ${limit} files and sockets open`,
        'Raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower MAX_CONNECTIONS.',
      ),
    ]
  }
  if (limit < FEW_FILES) {
    return [
      warning(
        'open files',
        `the process may have ${limit} files and sockets open`,
        'Raise the limit (ulimit -n 65536, LimitNOFILE= of systemd): each connection is one.',
      ),
    ]
  }
  return [pass('open files', Number.isFinite(limit) ? `${limit}` : 'no limit')]
}
