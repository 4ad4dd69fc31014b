/**
 * What an agent writes to propose an experiment: 50 realistic edits of a script in the shape of Karpathy's, as edits and
 * as a whole file: `npm run bench:tokens`. Each edit must apply and give a variant of its own.
 */
import { readFileSync } from 'node:fs';
import type { Edit } from '../src/experiment/edits.ts';
import { createVariant } from '../src/experiment/variant.ts';

const SOURCE = readFileSync(new URL('../test/fixtures/scripts/train_gpt.py', import.meta.url), 'utf8');
const LOOP_ID = 'loop-20261126-0123456789abcdef';
/** Four characters make about one token (mcp.md section 7). */
const CHARS_PER_TOKEN = 4;
const MAX_MEDIAN_TOKENS = 500;

/** A constant on its own line: the shortest edit there is. */
const knob = (from: string, to: string): Edit[] => [{ search: `${from}\n`, replace: `${to}\n` }];
const edit = (search: string, replace: string): Edit => ({ search, replace });

const FORWARD = '        x = x + self.attention(norm(x), cos, sin, masks)\n        return x + self.mlp(norm(x))';
const SCHEDULE = `    if progress < 1.0 - WARMDOWN_RATIO:
        return 1.0
    cooldown = (1.0 - progress) / WARMDOWN_RATIO
    return cooldown + (1 - cooldown) * FINAL_LR_FRAC`;
const SQUARE = '        return self.down(F.relu(self.up(x)).square())';
const UP_DOWN = `        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)`;
const ATTENTION_OUT = '        return self.out(y.transpose(1, 2).reshape(batch, length, width))';
const STEP = '    optimizer.step()\n';
const LOGITS = '        logits = 15 * torch.tanh(self.lm_head(norm(x)).float() / 15)';
const BLOCKS = '        for block in self.blocks:\n            x = block(x, cos, sin, masks)';

const PROPOSALS: readonly (readonly [hypothesis: string, edits: readonly Edit[]])[] = [
  ['More depth at the same width ratio; expected −0.004, risk: fewer steps.', knob('DEPTH = 8', 'DEPTH = 9')],
  ['Half the batch doubles the steps; expected −0.01.', knob('TOTAL_BATCH_SIZE = 2**19', 'TOTAL_BATCH_SIZE = 2**18')],
  [
    'Twice the batch for less gradient noise; likely worse.',
    knob('TOTAL_BATCH_SIZE = 2**19', 'TOTAL_BATCH_SIZE = 2**20'),
  ],
  ['Embeddings learn too slowly at this budget.', knob('EMBEDDING_LR = 0.6', 'EMBEDDING_LR = 0.9')],
  ['Embedding rate may be past its optimum.', knob('EMBEDDING_LR = 0.6', 'EMBEDDING_LR = 0.4')],
  ['The head saturates early; a higher rate helps.', knob('UNEMBEDDING_LR = 0.004', 'UNEMBEDDING_LR = 0.008')],
  ['Matrix rate up by half with the same warmdown.', knob('MATRIX_LR = 0.04', 'MATRIX_LR = 0.06')],
  ['Matrix rate down: late loss still oscillates.', knob('MATRIX_LR = 0.04', 'MATRIX_LR = 0.025')],
  ['Scalars move too fast.', knob('SCALAR_LR = 0.5', 'SCALAR_LR = 0.25')],
  ['Five minutes need no decay.', knob('WEIGHT_DECAY = 0.2', 'WEIGHT_DECAY = 0.0')],
  ['Half the decay.', knob('WEIGHT_DECAY = 0.2', 'WEIGHT_DECAY = 0.1')],
  ['Longer memory of squared gradients.', knob('ADAM_BETAS = (0.8, 0.95)', 'ADAM_BETAS = (0.8, 0.98)')],
  ['More momentum.', knob('ADAM_BETAS = (0.8, 0.95)', 'ADAM_BETAS = (0.9, 0.95)')],
  ['A short warmup lets the rates be higher.', knob('WARMUP_RATIO = 0.0', 'WARMUP_RATIO = 0.02')],
  ['Start the warmdown later.', knob('WARMDOWN_RATIO = 0.5', 'WARMDOWN_RATIO = 0.35')],
  ['Start the warmdown earlier.', knob('WARMDOWN_RATIO = 0.5', 'WARMDOWN_RATIO = 0.65')],
  ['Do not end at zero.', knob('FINAL_LR_FRAC = 0.0', 'FINAL_LR_FRAC = 0.05')],
  ['Wider at the same depth.', [edit('ASPECT_RATIO = 64 ', 'ASPECT_RATIO = 80 ')]],
  ['Narrower, more steps.', [edit('ASPECT_RATIO = 64 ', 'ASPECT_RATIO = 48 ')]],
  ['Smaller heads.', [edit('HEAD_DIM = 128 ', 'HEAD_DIM = 64 ')]],
  ['Full attention in every other layer.', [edit('WINDOW_PATTERN = "SSSL"', 'WINDOW_PATTERN = "SL"')]],
  ['Windows everywhere but the last of six.', [edit('WINDOW_PATTERN = "SSSL"', 'WINDOW_PATTERN = "SSSSSL"')]],
  [
    'Deeper and narrower at equal parameters.',
    [...knob('DEPTH = 8', 'DEPTH = 12'), edit('ASPECT_RATIO = 64 ', 'ASPECT_RATIO = 44 ')],
  ],
  [
    'Half the batch with the rate that goes with it.',
    [...knob('TOTAL_BATCH_SIZE = 2**19', 'TOTAL_BATCH_SIZE = 2**18'), ...knob('MATRIX_LR = 0.04', 'MATRIX_LR = 0.03')],
  ],
  [
    'No warmdown to zero, lower peak.',
    [
      ...knob('FINAL_LR_FRAC = 0.0', 'FINAL_LR_FRAC = 0.1'),
      ...knob('EMBEDDING_LR = 0.6', 'EMBEDDING_LR = 0.5'),
      ...knob('MATRIX_LR = 0.04', 'MATRIX_LR = 0.035'),
    ],
  ],
  ['SiLU instead of squared ReLU.', [edit(SQUARE, '        return self.down(F.silu(self.up(x)))')]],
  ['GELU instead of squared ReLU.', [edit(SQUARE, '        return self.down(F.gelu(self.up(x)))')]],
  [
    'A gated MLP at equal parameters: gates learn faster per step.',
    [
      edit(
        UP_DOWN,
        UP_DOWN.replace('self.up = nn.Linear(config.n_embd, 4 *', 'self.up = nn.Linear(config.n_embd, 5 *').replace(
          'nn.Linear(4 * config.n_embd, config.n_embd',
          'nn.Linear(5 * config.n_embd // 2, config.n_embd',
        ),
      ),
      edit(SQUARE, '        gate, value = self.up(x).chunk(2, -1)\n        return self.down(F.silu(gate) * value)'),
    ],
  ],
  [
    'MLP of three times the width: steps are worth more than width here.',
    [edit(UP_DOWN, UP_DOWN.replaceAll('4 *', '3 *'))],
  ],
  [
    'Attention and MLP in parallel: one norm less, faster steps.',
    [edit(FORWARD, '        y = norm(x)\n        return x + self.attention(y, cos, sin, masks) + self.mlp(y)')],
  ],
  [
    'Scaled residual branches keep early layers stable.',
    [
      edit(
        FORWARD,
        '        x = x + 0.7 * self.attention(norm(x), cos, sin, masks)\n        return x + 0.7 * self.mlp(norm(x))',
      ),
    ],
  ],
  [
    'A learned scale per branch, zero at the start.',
    [
      edit(
        '        self.mlp = MLP(config)\n',
        '        self.mlp = MLP(config)\n        self.scale = nn.Parameter(torch.zeros(2))\n',
      ),
      edit(
        FORWARD,
        '        x = x + self.scale[0] * self.attention(norm(x), cos, sin, masks)\n        return x + self.scale[1] * self.mlp(norm(x))',
      ),
    ],
  ],
  [
    'Cosine instead of linear warmdown.',
    [
      edit(
        SCHEDULE,
        SCHEDULE.replace(
          'cooldown = (1.0 - progress) / WARMDOWN_RATIO',
          'cooldown = 0.5 - 0.5 * math.cos(math.pi * (1.0 - progress) / WARMDOWN_RATIO)',
        ),
      ),
    ],
  ],
  [
    'Square-root warmdown spends longer at high rates.',
    [
      edit(
        SCHEDULE,
        SCHEDULE.replace(
          'cooldown = (1.0 - progress) / WARMDOWN_RATIO',
          'cooldown = ((1.0 - progress) / WARMDOWN_RATIO) ** 0.5',
        ),
      ),
    ],
  ],
  [
    'Clip the gradient norm: the first steps are wild.',
    [edit(STEP, `    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n${STEP}`)],
  ],
  [
    'A looser clip only for outliers.',
    [edit(STEP, `    torch.nn.utils.clip_grad_norm_(model.parameters(), 4.0)\n${STEP}`)],
  ],
  ['A tighter soft cap of the logits.', [edit(LOGITS, LOGITS.replaceAll('15', '10'))]],
  ['A looser soft cap of the logits.', [edit(LOGITS, LOGITS.replaceAll('15', '30'))]],
  ['No soft cap: one operation less.', [edit(LOGITS, '        logits = self.lm_head(norm(x)).float()')]],
  ['Longer rotary base for 2,048 tokens.', [edit('1.0 / 10000 **', '1.0 / 50000 **')]],
  ['Shorter rotary base: most of the gain is local.', [edit('1.0 / 10000 **', '1.0 / 2000 **')]],
  [
    'Feed the embedding into every block: the first layer need not carry it.',
    [
      edit(
        BLOCKS,
        '        first = x\n        for block in self.blocks:\n            x = block(0.9 * x + 0.1 * first, cos, sin, masks)',
      ),
    ],
  ],
  [
    'A skip from the first half to the second, as in a U.',
    [
      edit(
        BLOCKS,
        '        kept = []\n        for index, block in enumerate(self.blocks):\n            if index < len(self.blocks) // 2:\n                kept.append(x)\n            elif kept:\n                x = x + 0.5 * kept.pop()\n            x = block(x, cos, sin, masks)',
      ),
    ],
  ],
  [
    'A gate on the attention output.',
    [
      edit(
        '        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)\n',
        '        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)\n        self.gate = nn.Linear(config.n_embd, self.n_head, bias=False)\n',
      ),
      edit(
        ATTENTION_OUT,
        '        y = y * torch.sigmoid(self.gate(x)).transpose(1, 2)[..., None]\n        return self.out(y.transpose(1, 2).reshape(batch, length, width))',
      ),
    ],
  ],
  [
    'No norm on queries: it costs and may not help.',
    [
      edit(
        '        q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))',
        '        q, k = rotate(q, cos, sin), norm(rotate(k, cos, sin))',
      ),
    ],
  ],
  [
    'Windows of a quarter instead of half the context.',
    [edit('config.sequence_len // 2 if letter', 'config.sequence_len // 4 if letter')],
  ],
  [
    'Tie the head to the embedding: parameters go into depth.',
    [
      edit(
        '        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)\n',
        '        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)\n        self.lm_head.weight = self.embed.weight\n',
      ),
    ],
  ],
  [
    'Zero output projections: blocks start as identity.',
    [
      edit(
        '        angles = torch.outer(',
        '        for block in self.blocks:\n            nn.init.zeros_(block.attention.out.weight)\n            nn.init.zeros_(block.mlp.down.weight)\n        angles = torch.outer(',
      ),
    ],
  ],
  [
    'Less decay as training goes on.',
    [
      edit(
        '        group["lr"] = group["initial_lr"] * lrm\n',
        '        group["lr"] = group["initial_lr"] * lrm\n        if group["weight_decay"] > 0:\n            group["weight_decay"] = WEIGHT_DECAY * (1.0 - progress)\n',
      ),
    ],
  ],
  ['A larger epsilon damps rare embeddings.', [edit('eps=1e-10', 'eps=1e-8')]],
];

function countTokens(proposal: Record<string, unknown>): number {
  const call = { action: 'continue', loop_id: LOOP_ID, proposals: [proposal] };
  return JSON.stringify(call).length / CHARS_PER_TOKEN;
}

const hashes = new Set<string>();
const costs = PROPOSALS.map(([hypothesis, edits]) => {
  const { source, trainHash } = createVariant({ source: SOURCE, base: SOURCE, edits, config: {} });
  hashes.add(trainHash);
  return { asEdits: countTokens({ edits, hypothesis }), asFile: countTokens({ train_py: source, hypothesis }) };
});
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const [edits, file] = [costs.map(({ asEdits }) => asEdits), costs.map(({ asFile }) => asFile)];
const isWithin = hashes.size === PROPOSALS.length && median(edits) <= MAX_MEDIAN_TOKENS;
process.stdout.write(
  `${PROPOSALS.length} proposals of a script of ${SOURCE.length} characters: as edits median ${median(edits).toFixed(0)}, at most ${Math.max(...edits).toFixed(0)} tokens; as a whole file median ${median(file).toFixed(0)}. ${isWithin ? 'within' : 'OVER'} ${MAX_MEDIAN_TOKENS}\n`,
);
process.exitCode = isWithin ? 0 : 1;
