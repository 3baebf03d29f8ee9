import { fileURLToPath } from 'node:url'

/** @type {import('next').NextConfig} */
export default {
  cacheComponents: true,
  cacheHandlers: { default: fileURLToPath(import.meta.resolve('./cache-handler.mjs')) },
  partialPrefetching: true,
  // Where the package is that is tried here.
  turbopack: { root: fileURLToPath(new URL('../../..', import.meta.url)) },
}
