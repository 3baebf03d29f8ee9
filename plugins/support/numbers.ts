// Apart from the schemas that use them: who needs only these bounds loads no TypeBox.

/** Whole numbers above it are rounded without a word by JSON.parse: `9007199254740993` becomes `…992`. */
export const MAX_INTEGER = 2 ** 53 - 1
/** Milliseconds of a hundred years: whatever lasts longer is a mistake, and some clocks and stores cannot count it. */
export const MAX_DURATION = 100 * 365 * 24 * 3_600_000
