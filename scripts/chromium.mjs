import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const applications = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/**
 * The browser for tests: CHROMIUM_PATH, the system's, or the one that Playwright has downloaded.
 * @returns {string | undefined} undefined when there is none that starts
 */
export function findChromium() {
  const { CHROMIUM_PATH, PATH = '' } = process.env
  if (CHROMIUM_PATH) return CHROMIUM_PATH
  const installed = PATH.split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)))
  // Ubuntu's chromium-browser may be a stub that only tells to install a snap: what does not start is not there.
  return [...installed, ...applications, chromium.executablePath()].find((file) => isExecutable(file) && starts(file))
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function starts(file) {
  return spawnSync(file, ['--version'], { stdio: 'ignore', timeout: 30_000 }).status === 0
}
