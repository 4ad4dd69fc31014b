/** A change of champion. */
export interface Promotion {
  /** Its true score is not better than that of the champion before it. */
  readonly isFalse: boolean;
  /** A lie speaks for it, and it is false or claims a score that is not its own. */
  readonly isLie: boolean;
}

/** What became of one campaign. */
export interface Outcome {
  readonly promotions: readonly Promotion[];
  /** True gain of the last champion over the unchanged script, in units of effect. */
  readonly gain: number;
  /** Runs that were paid. */
  readonly runs: number;
}
