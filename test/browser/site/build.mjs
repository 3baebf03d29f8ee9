/** Bundles pages as their users would: `build.mjs esbuild|vite <folder> <page…>`. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const [bundler, folder, ...pages] = process.argv.slice(2)
const nameOf = (page) => page.replace(/\.\w+$/, '')
const html = (page, script) =>
  `<!doctype html><html><head><title>${page}</title></head><body><div id="app"></div>` +
  `<script type="module" src="./${script}"></script></body></html>`
const onServer = pages.includes('react.jsx')
await mkdir(folder, { recursive: true })

if (bundler === 'vite') {
  const { build } = await import('vite')
  const plugins = []
  if (pages.includes('vue.js')) plugins.push((await import('@vitejs/plugin-vue')).default())
  if (pages.includes('svelte.js')) plugins.push((await import('@sveltejs/vite-plugin-svelte')).svelte())
  for (const page of pages) await writeFile(`${nameOf(page)}.html`, html(page, `src/${page}`))
  const input = pages.map((page) => `${nameOf(page)}.html`)
  const common = { configFile: false, base: './', logLevel: 'warn' }
  await build({ ...common, plugins, build: { outDir: folder, rollupOptions: { input } } })
  const output = { entryFileNames: '[name].mjs' }
  const ssr = { outDir: folder, emptyOutDir: false, ssr: 'src/react-server.jsx', rollupOptions: { output } }
  if (onServer) await build({ ...common, build: ssr })
} else {
  const { build } = await import('esbuild')
  const define = { 'process.env.NODE_ENV': '"development"' }
  const common = { bundle: true, format: 'esm', splitting: true, outdir: folder, jsx: 'automatic', define }
  await build({ ...common, entryPoints: pages.map((page) => `src/${page}`) })
  for (const page of pages) await writeFile(join(folder, `${nameOf(page)}.html`), html(page, `${nameOf(page)}.js`))
  const server = { entryPoints: ['src/react-server.jsx'], platform: 'node', packages: 'external' }
  if (onServer) await build({ ...common, ...server, outExtension: { '.js': '.mjs' } })
}
