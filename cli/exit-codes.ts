/** What the process of a command ends with. docs/cli.md lists them. */
export const EXIT = {
  /** It did what it was asked to. */
  done: 0,
  /** It could not; the message says why. */
  failed: 1,
  /** There is no such command, option or value. */
  usage: 2,
  /** It looked, and what it looked at is not in order: `doctor`, `verify`. */
  unsound: 3,
} as const
