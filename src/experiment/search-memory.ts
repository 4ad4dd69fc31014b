/** A search that has not found the job by then will not find it, and a signer may want each sign-in approved by hand. */
const MAX_LOOKS = 8;
const MAX_SIGN_INS = 40;
/** Whose list holds that many jobs that are not ours in the time of ours lists anything. */
const MAX_FOREIGN = 5;
/** Pauses between two looks grow by this factor, up to a longest one in milliseconds. */
const GROWTH = 4;
const MAX_PAUSE_MS = 300_000;

/** What one process remembers of its search for the job of one attempt. Another process starts anew: a look costs nothing. */
export class SearchMemory {
  readonly foreign = new Set<string>();
  #looks = 0;
  #signIns = 0;
  #dueAtMs = 0;
  #isClosed = false;

  /** Whether there is nothing left to try. */
  get isOver(): boolean {
    return this.#isClosed || this.#looks >= MAX_LOOKS || this.foreign.size >= MAX_FOREIGN;
  }

  /** How many more jobs may turn out not to be ours. */
  get foreignLeft(): number {
    return MAX_FOREIGN - this.foreign.size;
  }

  /** The worker has no list for us: it is not asked again. */
  close(): void {
    this.#isClosed = true;
  }

  /** Takes the next look, if its time has come. @param pollMs the shortest pause, milliseconds */
  mayLook(nowMs: number, pollMs: number): boolean {
    if (nowMs < this.#dueAtMs) return false;
    this.#looks += 1;
    this.#dueAtMs = nowMs + Math.min(pollMs * GROWTH ** this.#looks, MAX_PAUSE_MS);
    return true;
  }

  /** Takes one more sign-in, if there is one left. */
  maySignIn(): boolean {
    this.#signIns += 1;
    return this.#signIns <= MAX_SIGN_INS;
  }
}
