import type { Job } from './field.ts';

/** As the gate knows Karpathy's script: five minutes on a GPU, with a seed. */
const GPU_SOURCE = [
  'from prepare import evaluate_bpb, make_dataloader, TIME_BUDGET',
  'ASPECT_RATIO = 64',
  'HEAD_DIM = 128',
  'WINDOW_PATTERN = "SSSL"',
  'TOTAL_BATCH_SIZE = 2**19',
  'EMBEDDING_LR = 0.6',
  'UNEMBEDDING_LR = 0.004',
  'MATRIX_LR = 0.04',
  'SCALAR_LR = 0.5',
  'WEIGHT_DECAY = 0.2',
  'IDEAS = ""',
  'torch.manual_seed(42)',
  'torch.cuda.manual_seed(42)',
  'print("val_bpb:", evaluate_bpb())',
  '',
].join('\n');

/** As the gate knows the numpy job: a few seconds, a seed, and the same digits whenever it is repeated. */
const SEEDED_SOURCE = [
  'import numpy',
  'from pydoc_data.topics import topics',
  'CONTEXT = 8',
  'EMBED_DIM = 16',
  'DEPTH = 2',
  'TOTAL_BATCH_SIZE = 1024',
  'MATRIX_LR = 0.004',
  'WARMDOWN_RATIO = 0.3',
  'SEED = 42',
  'FLOP_BUDGET = 2.5e11',
  'MAX_STEPS = 0',
  'IDEAS = ""',
  'def loss_and_grads(): pass',
  'def evaluate_bpb(): pass',
  'print("val_bpb:", evaluate_bpb())',
  '',
].join('\n');

/** Noise of one run that the task assumes for the GPU job before it has seen repeats. */
const SIGMA = 5e-4;

const GPU = { source: GPU_SOURCE, baseline: 0.9979, effect: SIGMA, seconds: 326 };

/** The GPU job with gains of 1 to 10 times this noise; a third of it is no matter of the seed. */
const gpuWith = (name: string, sigma: number): Job => ({ ...GPU, name, seedNoise: sigma, repeatNoise: 0.3 * sigma });

export const REALISTIC: Job = gpuWith('GPU job, realistic noise', SIGMA);

/** Jobs from little noise to much, and one with a seed whose noise was measured (field.md section 4). */
export const JOBS: readonly Job[] = [
  gpuWith('GPU job, noise 0.4 x', 0.4 * SIGMA),
  REALISTIC,
  gpuWith('GPU job, noise 2 x', 2 * SIGMA),
  {
    name: 'seeded job',
    source: SEEDED_SOURCE,
    baseline: 2.1591,
    effect: 0.0258,
    seedNoise: 0.0258,
    repeatNoise: 0,
    seconds: 8,
  },
];
