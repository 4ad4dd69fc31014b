/** A top-level upper-case constant of a training script: what a variant usually changes. */
export interface Knob {
  readonly name: string;
  /** Its value as the source spells it. */
  readonly value: string;
  /** The whole line, ready to be the search text of an edit. */
  readonly line: string;
  /** Where the line stands, from 0. */
  readonly lineIndex: number;
  /** What the script says about it on the same line; empty when nothing. */
  readonly comment: string;
}

const KNOB_LINE =
  /^([A-Z][A-Z0-9_]{1,40})\s*(?::[^=#]+)?=(?!=)\s*((?:"[^"]*"|'[^']*'|[^#"'\n])+?)\s*(?:#\s*(.*?)\s*)?$/;
const LITERAL = /^(?:[-+\d._eE*()[\], ]+|"[^"]*"|'[^']*'|True|False|None)$/;
const TRIPLE_QUOTES = /"""|'''/g;
const MAX_KNOBS = 60;
/** No constant that is turned stands on a longer line, and the pattern above is slow on those. */
const MAX_LINE_CHARS = 500;

/** Finds the knobs of a script: constants with a literal value at the start of a line, outside longer texts. */
export function findKnobs(source: string): Knob[] {
  const knobs = new Map<string, Knob>();
  let openQuote: string | null = null;
  for (const [lineIndex, line] of source.split('\n').entries()) {
    const isInside: boolean = openQuote !== null;
    for (const [quote] of line.matchAll(TRIPLE_QUOTES)) {
      if (openQuote === null) openQuote = quote;
      else if (openQuote === quote) openQuote = null;
    }
    const [, name, value, comment] =
      isInside || line.length > MAX_LINE_CHARS ? [] : (KNOB_LINE.exec(line.trimEnd()) ?? []);
    if (name === undefined || value === undefined || !LITERAL.test(value)) continue;
    if (!knobs.has(name)) knobs.set(name, { name, value, line, lineIndex, comment: comment ?? '' });
    if (knobs.size >= MAX_KNOBS) break;
  }
  return [...knobs.values()];
}

/**
 * Names that say how much may be computed, what is measured or which luck is drawn: more of them "wins" without an
 * idea. Only for scripts whose task is not known; a known task names its own.
 */
const RULE_OF_THE_GAME =
  /SEED|BUDGET|(^|_)(TIME|EVAL|VAL|VALID|TEST|VOCAB|DATA|DATASET|PATH|DIR|FILE|URL|DEVICE|DTYPE|LOG|PRINT|SAVE|CHECKPOINT|VERSION|SHARD|SHARDS)(_|$)|(NUM|MAX|TOTAL|TRAIN|TRAINING)_(STEPS|ITERS|ITERATIONS|EPOCHS|TOKENS|SECONDS|BYTES|SAMPLES)$|^(STEPS|EPOCHS|ITERS|ITERATIONS)$/;

/** Whether a name looks like one of those, such as `TIME_BUDGET`, `SEED` or `MAX_STEPS`. */
export function isRuleOfTheGame(name: string): boolean {
  // DEVICE_BATCH_SIZE is how a batch is cut, not where it runs.
  return RULE_OF_THE_GAME.test(name) && !name.endsWith('BATCH_SIZE');
}
