import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { untracked } from '../fixtures/untracked.ts'
import { execute, installPacked } from '../packaging/project.ts'

const source = fileURLToPath(new URL('site', import.meta.url))

export type Bundler = 'esbuild' | 'vite'

/**
 * Pages of `site/` in a project of their own, with the packed package, as its users' bundlers make them.
 * @param pages by the bundler that makes them
 * @param others packages that they need
 */
export async function installSite(
  t: Test,
  pages: Record<Bundler, readonly string[]>,
  others: string[],
): Promise<string> {
  const project = await installPacked(t, ['fastify', ...Object.keys(pages), ...others])
  await cp(source, project, { recursive: true })
  for (const [bundler, names] of Object.entries(pages)) {
    await execute(project, process.execPath, ['build.mjs', bundler, join(project, bundler), ...names])
  }
  return project
}

/** Serves what one bundler made; resolves with the URL. */
export async function serveSite(t: Test, project: string, bundler: Bundler): Promise<string> {
  const child = spawn(...untracked(process.execPath, ['server.mjs', join(project, bundler)]), {
    cwd: project,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(async () => {
    const exited = child.exitCode === null ? once(child, 'exit') : undefined
    child.kill('SIGTERM')
    await exited
  })
  for await (const line of createInterface(child.stdout)) {
    const [, url] = /^listening at (.*)$/.exec(line) ?? []
    if (url) return url
  }
  throw new Error('the site ended before it listened')
}

/** Whatever a page says is wrong, as it says it. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  return complaints
}
