/** The codes of a write that the schemas let pass and the state refuses. */
export const REFUSED_WRITES = [
  'STATEFUL_STATE_INVALID_KEY',
  'STATEFUL_STATE_INVALID_VALUE',
  'STATEFUL_STATE_LIMIT',
  'STATEFUL_STATE_SCHEMA',
  'STATEFUL_STATE_TYPE_MISMATCH',
  'STATEFUL_STATE_REFUSED',
] as const
