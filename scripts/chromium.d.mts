/** The browser for tests: CHROMIUM_PATH, the system's, or Playwright's; undefined when there is none that starts. */
export function findChromium(): string | undefined
