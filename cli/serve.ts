export interface ServeOptions {
  host?: string | undefined
  port?: number | undefined
  storage?: string | undefined
}

/** The reference server, as `npm start` runs it; what is given here stands above the environment. */
export async function serve({ host, port, storage }: ServeOptions): Promise<void> {
  if (host !== undefined) process.env['HOST'] = host
  if (port !== undefined) process.env['PORT'] = `${port}`
  if (storage !== undefined) process.env['STORAGE'] = storage
  await import('../server.ts')
}
