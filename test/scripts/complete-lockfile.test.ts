import { readFile } from 'node:fs/promises'
import t from 'tap'
import { missingEntries } from '../../scripts/complete-lockfile.mjs'

t.test('the lock files have the packages of every platform, so that npm ci works on all', async (t) => {
  for (const file of [
    'package-lock.json',
    'bench/package-lock.json',
    'checks/package-lock.json',
    'test/ecosystem/generators/package-lock.json',
  ]) {
    const lock = JSON.parse(await readFile(new URL(`../../${file}`, import.meta.url), 'utf8'))
    t.same(Object.keys(missingEntries(lock)), [], `${file}: run node scripts/complete-lockfile.mjs ${file}`)
  }
})

t.test('an entry says from its name for which platform it is', async (t) => {
  const optionalDependencies = {
    '@x/cli-linux-arm64-musl': '1.2.3',
    '@x/cli-win32-ia32-msvc': '1.2.3',
    '@x/here': '1.0.0',
  }
  const packages = {
    '': {},
    'node_modules/@x/cli': { dev: true, optionalDependencies },
    'node_modules/@x/cli/node_modules/@x/here': {},
  }
  t.same(missingEntries({ packages }), {
    'node_modules/@x/cli-linux-arm64-musl': {
      ...{ version: '1.2.3', cpu: ['arm64'], dev: true, libc: ['musl'], optional: true, os: ['linux'] },
    },
    'node_modules/@x/cli-win32-ia32-msvc': {
      version: '1.2.3',
      cpu: ['ia32'],
      dev: true,
      optional: true,
      os: ['win32'],
    },
  })
})

t.test('looks where Node would look', async (t) => {
  const parent = { optionalDependencies: { 'a-linux-x64': '1.0.0' } }
  const nested = { 'node_modules/b/node_modules/a': parent }
  t.same(missingEntries({ packages: { ...nested, 'node_modules/b/node_modules/a-linux-x64': {} } }), {})
  t.same(missingEntries({ packages: { ...nested, 'node_modules/a-linux-x64': {} } }), {})
  t.same(Object.keys(missingEntries({ packages: { ...nested, 'node_modules/c/node_modules/a-linux-x64': {} } })), [
    'node_modules/a-linux-x64',
  ])
})

t.test('a name that tells no platform is not guessed', async (t) => {
  const packages = { 'node_modules/a': { optionalDependencies: { fsevents: '2.0.0' } } }
  t.throws(() => missingEntries({ packages }), /fsevents/)
})
