/** What a check says of one thing. */
export interface Finding {
  level: 'pass' | 'warning' | 'failure'
  /** What was looked at. */
  what: string
  /** How it is. No secret is ever in it. */
  found: string
  /** What to do; with a pass there is nothing. */
  cure?: string
}

/** What checks look at. */
export interface Surroundings {
  /** The variables that the server would be started with. */
  environment: NodeJS.ProcessEnv
  production: boolean
  storage: string
  /** Of this process, such as `22.12.0`. */
  nodeVersion: string
  /** How many files and sockets the process may have open. */
  openFiles: number
  /** Milliseconds since the Unix epoch, by the clock of this machine. */
  now: () => number
}

/** Looks at one thing, and never throws for what it finds; nothing found is nothing to say. */
export type Check = (surroundings: Surroundings) => Finding[] | Promise<Finding[]>

export const pass = (what: string, found: string): Finding => ({ level: 'pass', what, found })
export const warning = (what: string, found: string, cure: string): Finding => ({ level: 'warning', what, found, cure })
export const failure = (what: string, found: string, cure: string): Finding => ({ level: 'failure', what, found, cure })

/** The entries of a list in a variable. */
export const listed = (text = ''): string[] =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
