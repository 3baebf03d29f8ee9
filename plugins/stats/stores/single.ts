import type { Board } from './board.ts'

/** Memory and LMDB belong to one process: there is nobody else to tell. */
export const singleBoard: Board = {
  async publish() {},
  async others() {
    return []
  },
  async withdraw() {},
}
