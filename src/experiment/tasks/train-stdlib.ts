import type { TaskInput } from '../task-schema.ts';

/** The example job `train_stdlib.py`: a byte n-gram model without dependencies, seed or noise. */
export const TRAIN_STDLIB = {
  name: 'train_stdlib',
  signature: {
    names: ['pydoc_data.topics', 'TRAIN_BYTES', 'UNIFORM_MIX'],
    knobs: ['MAX_ORDER', 'DISCOUNT', 'DISCOUNT_GROWTH', 'MIN_COUNT', 'TRAIN_BYTES', 'CACHE_WEIGHT', 'CACHE_BYTES'],
    atLeast: 5,
  },
  // A model that knows nothing needs 8 bits for a byte.
  plausible: { min: 1.2, max: 8 },
  maxGain: 0.15,
  protectedNames: ['text', 'val', 'train', 'topics', 'nll'],
  lockedKnobs: ['TRAIN_BYTES'],
  budgetNames: ['TRAIN_BYTES'],
  validationNames: ['text'],
  // The model's formula stands in the loop over the validation text: a new use of it may be honest.
  watchedNames: ['val'],
  evaluationNames: ['nll'],
  // Outside these the numbers are no distribution any more, and the score means nothing.
  knobRanges: {
    UNIFORM_MIX: { min: 0, max: 1 },
    CACHE_WEIGHT: { min: 0, max: 1 },
    MAX_ORDER: { min: 0, max: 64 },
  },
  budgetRule: { kind: 'data', text: 'TRAIN_BYTES of training text.' },
  expectedSeconds: 2,
  // The same variant gives the same six decimals everywhere.
  noisePrior: { sigma: 1e-5, weight: 4 },
} satisfies TaskInput;
