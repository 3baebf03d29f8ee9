/**
 * `node scripts/complete-lockfile.mjs [lockfile]` adds the optional packages of other platforms that package-lock.json
 * lacks. A registry mirror that does not carry them makes `npm install` leave them out without a word, and then `npm ci`
 * refuses the file everywhere. Such an entry has no integrity: npm looks it up where the platform needs it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * Entries that the lock file's packages ask for and it does not have.
 * @param {{ packages: Record<string, object> }} lock
 * @returns {Record<string, object>} by their key in `packages`
 */
export function missingEntries({ packages }) {
  const missing = {}
  for (const [path, parent] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      if (!isResolved(packages, path, name)) missing[`node_modules/${name}`] = entry(name, version, parent)
    }
  }
  return missing
}

/** As Node looks for it: in the package's own node_modules, then in those of the folders above. */
function isResolved(packages, path, name) {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    if (packages[`${folder ? `${folder}/` : ''}node_modules/${name}`]) return true
    if (!folder) return false
  }
}

function entry(name, version, parent) {
  const [os] = /android|darwin|linux|win32|freebsd|netbsd|openbsd|openharmony|sunos|aix/.exec(name) ?? []
  const [cpu] = /arm64|arm|x64|ia32|ppc64|riscv64|s390x|loong64|mips64el/.exec(name) ?? []
  if (!os || !cpu) throw new Error(`${name} is missing from the lock file and its name tells no platform`)
  const [libc] = os === 'linux' ? (/musl|gnu|glibc/.exec(name) ?? []) : []
  return {
    version,
    cpu: [cpu],
    ...(parent.dev || parent.devOptional ? { dev: true } : {}),
    ...(libc ? { libc: [libc === 'musl' ? 'musl' : 'glibc'] } : {}),
    optional: true,
    os: [os],
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const file = process.argv[2] ?? fileURLToPath(new URL('../package-lock.json', import.meta.url))
  const lock = JSON.parse(readFileSync(file, 'utf8'))
  const missing = missingEntries(lock)
  const sorted = Object.entries({ ...lock.packages, ...missing }).sort(([a], [b]) => a.localeCompare(b, 'en'))
  writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`)
  process.stdout.write(`${Object.keys(missing).length} added\n`)
}
