/** Bundles the pages as their users would: `build.mjs esbuild|vite <folder>`. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const [bundler, folder] = process.argv.slice(2)
const html = (name) =>
  `<!doctype html><html><head><title>${name}</title></head><body><div id="app"></div>` +
  `<script type="module" src="./${bundler === 'vite' ? `src/${name}` : `${name.replace(/\.\w+$/, '')}.js`}"></script></body></html>`
const pages = {
  // For components of Vue and Svelte esbuild needs plugins that are not its own.
  esbuild: ['react.jsx', 'preact.jsx', 'plain.js'],
  vite: ['react.jsx', 'preact.jsx', 'vue.js', 'svelte.js', 'plain.js'],
}[bundler]
await mkdir(folder, { recursive: true })

if (bundler === 'vite') {
  const { build } = await import('vite')
  const { default: vue } = await import('@vitejs/plugin-vue')
  const { svelte } = await import('@sveltejs/vite-plugin-svelte')
  for (const page of pages) await writeFile(`${page.replace(/\.\w+$/, '')}.html`, html(page))
  const input = pages.map((page) => `${page.replace(/\.\w+$/, '')}.html`)
  const common = { configFile: false, base: './', logLevel: 'warn' }
  await build({ ...common, plugins: [vue(), svelte()], build: { outDir: folder, rollupOptions: { input } } })
  await build({
    ...common,
    build: {
      outDir: folder,
      emptyOutDir: false,
      ssr: 'src/react-server.jsx',
      rollupOptions: { output: { entryFileNames: '[name].mjs' } },
    },
  })
} else {
  const { build } = await import('esbuild')
  const common = {
    bundle: true,
    format: 'esm',
    splitting: true,
    outdir: folder,
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' },
  }
  await build({ ...common, entryPoints: pages.map((page) => `src/${page}`) })
  for (const page of pages) await writeFile(join(folder, `${page.replace(/\.\w+$/, '')}.html`), html(page))
  await build({
    ...common,
    entryPoints: ['src/react-server.jsx'],
    platform: 'node',
    packages: 'external',
    splitting: true,
    outExtension: { '.js': '.mjs' },
  })
}
