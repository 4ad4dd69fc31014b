import * as z from 'zod';

const Identifier = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/);
const Identifiers = z.array(Identifier).max(200).default([]);

const Range = z
  .strictObject({ min: z.number(), max: z.number() })
  .refine(({ min, max }) => min <= max, { message: 'min is above max' });

/**
 * What is known of a training script: how it is recognised, what its score may be, and which of its parts are rules of
 * the game rather than ideas. Operators write the same as JSON.
 */
export const TaskSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,40}$/),
  /** How a root source is recognised: all of `names` occur in it, and at least `atLeast` of `knobs` are assigned in it. */
  signature: z
    .strictObject({
      names: z.array(Identifier).min(1),
      knobs: Identifiers,
      atLeast: z.int().min(0).default(0),
    })
    .refine(({ knobs, atLeast }) => atLeast <= knobs.length, {
      path: ['atLeast'],
      message: 'atLeast is more than there are knobs: no script would ever match',
    }),
  entryScript: z.string().default('train.py'),
  metric: z.string().regex(/^\w+$/).default('val_bpb'),
  direction: z.enum(['lower', 'higher']).default('lower'),
  /** Scores outside are no result of this task. */
  plausible: Range.default({ min: 0.5, max: 10 }),
  /** A larger gain over the champion in one step is suspect. */
  maxGain: z.number().positive().default(0.1),
  /** Functions, classes and variables that may be neither redefined nor changed. */
  protectedNames: Identifiers,
  /** Modules that are read-only: what is imported from them is protected as well. */
  protectedModules: Identifiers,
  /** Constants that say how much may be computed: more of them "wins" without an idea. */
  lockedKnobs: Identifiers,
  /** Variables of the main program that measure the budget: a person should look at new statements with them. */
  budgetNames: Identifiers,
  /** Names of validation data: new uses are refused. */
  validationNames: Identifiers,
  /** String literals that name validation data. */
  validationTexts: z.array(z.string()).default([]),
  /** Names whose new uses a person should look at. */
  watchedNames: Identifiers,
  /** Functions whose changes a person should look at, such as `Model.forward` where the evaluation trusts its loss. */
  watchedFunctions: Identifiers,
  /** Names of which at least one leads to the printed score. */
  evaluationNames: Identifiers,
  /** The constant that seeds the run, or the function that is called with the seed; null: the script has none. */
  seedKnob: Identifier.nullable().default(null),
  /** Values that a knob may have, both ends included. */
  knobRanges: z.record(Identifier, Range).default({}),
  /** What ends a run. */
  budgetRule: z.strictObject({ kind: z.enum(['seconds', 'flops', 'data', 'steps', 'unknown']), text: z.string() }),
  /** Usual duration of a whole run, seconds; null: unknown. */
  expectedSeconds: z.number().positive().nullable().default(null),
  /** Noise of one run before repeats were seen, in units of the metric, and how many repeats that is worth. */
  noisePrior: z
    .strictObject({ sigma: z.number().positive(), weight: z.number().positive() })
    .default({ sigma: 5e-4, weight: 4 }),
});
export type Task = z.infer<typeof TaskSchema>;
export type TaskInput = z.input<typeof TaskSchema>;
