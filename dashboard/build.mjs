import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const source = (name) => fileURLToPath(new URL(name, import.meta.url))

/**
 * Bundles the page into three files that need nothing from elsewhere: `index.html`, `dashboard.js`, `dashboard.css`.
 *
 * @param {string} outdir where to; made when missing
 */
export async function buildDashboard(outdir) {
  await mkdir(outdir, { recursive: true })
  await build({
    entryPoints: [
      { in: source('main.tsx'), out: 'dashboard' },
      { in: source('styles.css'), out: 'dashboard' },
    ],
    outdir,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    logLevel: 'warning',
  })
  await copyFile(source('index.html'), join(outdir, 'index.html'))
}
