/**
 * Bundles pages as their users would: `build.mjs esbuild|vite <folder> <page…>`. The page `preact.jsx` is that of React
 * with `react` replaced, as applications that move to Preact do it.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const [bundler, folder, ...pages] = process.argv.slice(2)
const PREACT = {
  'react-dom/client': 'preact/compat/client',
  'react/jsx-runtime': 'preact/jsx-runtime',
  react: 'preact/compat',
}
const onServer = pages.includes('react.jsx')
await mkdir(folder, { recursive: true })

for (const page of pages) {
  const name = page.replace(/\.\w+$/, '')
  const source = `src/${page === 'preact.jsx' ? 'react.jsx' : page}`
  const alias = page === 'preact.jsx' ? PREACT : {}
  const html = (script) =>
    `<!doctype html><html><head><title>${name}</title></head><body><div id="app"></div>` +
    `<script type="module" src="./${script}"></script></body></html>`
  if (bundler === 'vite') {
    await writeFile(`${name}.html`, html(source))
    await viteBuild({
      resolve: { alias },
      plugins: await pluginsOf(page),
      build: { outDir: folder, emptyOutDir: false, rollupOptions: { input: `${name}.html` } },
    })
  } else {
    await esbuildBuild({ entryPoints: { [name]: source }, alias })
    await writeFile(join(folder, `${name}.html`), html(`${name}.js`))
  }
}

if (onServer && bundler === 'vite') {
  const output = { entryFileNames: '[name].mjs' }
  const ssr = 'src/react-server.jsx'
  await viteBuild({ build: { outDir: folder, emptyOutDir: false, ssr, rollupOptions: { output } } })
} else if (onServer) {
  const server = { platform: 'node', packages: 'external', outExtension: { '.js': '.mjs' } }
  await esbuildBuild({ entryPoints: ['src/react-server.jsx'], ...server })
}

async function viteBuild(options) {
  const { build } = await import('vite')
  await build({ configFile: false, base: './', logLevel: 'warn', ...options })
}

async function pluginsOf(page) {
  if (page === 'vue.js') return [(await import('@vitejs/plugin-vue')).default()]
  return page === 'svelte.js' ? [(await import('@sveltejs/vite-plugin-svelte')).svelte()] : []
}

async function esbuildBuild(options) {
  const { build } = await import('esbuild')
  const define = { 'process.env.NODE_ENV': '"development"' }
  await build({ bundle: true, format: 'esm', splitting: true, outdir: folder, jsx: 'automatic', define, ...options })
}
