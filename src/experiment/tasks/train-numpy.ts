import type { TaskInput } from '../task-schema.ts';

/** The example job `train_numpy.py`: a byte-level model in numpy with a budget of floating-point operations. */
export const TRAIN_NUMPY = {
  name: 'train_numpy',
  signature: {
    names: ['pydoc_data.topics', 'evaluate_bpb', 'loss_and_grads', 'FLOP_BUDGET'],
    knobs: ['CONTEXT', 'EMBED_DIM', 'DEPTH', 'TOTAL_BATCH_SIZE', 'MATRIX_LR', 'WARMDOWN_RATIO', 'SEED', 'MAX_STEPS'],
    atLeast: 6,
  },
  plausible: { min: 1.3, max: 10 },
  // Batch 256 honestly gains 0.108 over the baseline.
  maxGain: 0.25,
  protectedNames: [
    'load_bytes',
    'data',
    'n_val',
    'train_data',
    'val_data',
    'data_sha',
    'windows',
    'evaluate_bpb',
    'val_bpb',
    'num_params',
    'max_steps',
    'step',
    'elapsed',
    'progress',
  ],
  lockedKnobs: ['FLOP_BUDGET', 'TIME_BUDGET', 'MAX_STEPS'],
  budgetNames: ['FLOP_BUDGET', 'TIME_BUDGET', 'MAX_STEPS', 'max_steps', 'progress', 'elapsed', 't_train'],
  validationNames: ['val_data', 'data'],
  evaluationNames: ['evaluate_bpb'],
  seedKnob: 'SEED',
  knobRanges: { WARMUP_RATIO: { min: 0, max: 1 }, WARMDOWN_RATIO: { min: 0, max: 1 } },
  budgetRule: { kind: 'flops', text: 'FLOP_BUDGET training operations, 6 x parameters x predicted bytes.' },
  expectedSeconds: 8,
  noisePrior: { sigma: 0.02, weight: 4 },
} satisfies TaskInput;
