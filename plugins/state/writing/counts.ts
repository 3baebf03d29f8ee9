/** What became of the writes and reads of a log, since it was opened. */
export interface SequencerCounts {
  commits: number
  batches: number
  conflicts: number
  refused: number
  timeouts: number
  unknown: number
  storeErrors: number
  catchUps: number
  resyncs: number
}

export function noCounts(): SequencerCounts {
  return {
    commits: 0,
    batches: 0,
    conflicts: 0,
    refused: 0,
    timeouts: 0,
    unknown: 0,
    storeErrors: 0,
    catchUps: 0,
    resyncs: 0,
  }
}
