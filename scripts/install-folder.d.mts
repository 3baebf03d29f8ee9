/** Installs a folder that has a lockfile of its own, when that differs from what was installed last. */
export function installFolder(folder: string): void
