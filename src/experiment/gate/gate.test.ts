import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../base/json.ts';
import { applyEdits } from '../edits.ts';
import { findTask } from '../task.ts';
import { assertPasses, checkVariant, type GateReport } from './gate.ts';
import { ScriptReader } from './script-reader.ts';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const STDLIB = read('../../localnet/examples/train_stdlib.py');
const NUMPY = read('../../localnet/examples/train_numpy.py');
const GPT = read('../../../test/fixtures/scripts/train_gpt.py');
const TINY = 'import time\nx = 1.5\nprint(f"val_bpb: {x}")\n';

/** Both readers judge every case: the verdict may not depend on whether Python is there. */
const READERS = [
  ['with Python', new ScriptReader('python3', 1_000)],
  ['without Python', new ScriptReader(null, 1_000)],
] as const;

interface Case {
  readonly name: string;
  readonly root: string;
  readonly edit?: readonly [search: string, replace: string];
  readonly source?: string;
  readonly config?: JsonObject;
  /** `verdict rule line` of the first finding; none: it passes without a word. */
  readonly expected?: readonly [verdict: 'warn' | 'refuse', rule: string, line?: number];
}

function sourceOf({ root, edit, source }: Case): string {
  return edit ? applyEdits(root, [{ search: edit[0], replace: edit[1] }]) : (source ?? root);
}

function check(reader: ScriptReader, item: Case): Promise<GateReport> {
  const { root, config = {} } = item;
  return checkVariant(reader, findTask(root), { source: sourceOf(item), config }, { source: root, config: {} });
}

function lineOf(source: string, text: string): number {
  return source.slice(0, source.indexOf(text)).split('\n').length;
}

const knob = (root: string, search: string, replace: string): Case => ({
  name: replace,
  root,
  edit: [search, replace],
});

const HONEST: readonly Case[] = [
  { name: 'the unchanged stdlib job', root: STDLIB },
  { name: 'the unchanged numpy job', root: NUMPY },
  { name: 'the unchanged GPT', root: GPT },
  ...['1', '2', '3', '5', '6', '10'].map((value) => knob(STDLIB, 'MAX_ORDER = 4 ', `MAX_ORDER = ${value} `)),
  ...['.02', '.05', '.1', '1'].map((value) => knob(STDLIB, 'CACHE_WEIGHT = 0.0 ', `CACHE_WEIGHT = ${value} `)),
  ...['.5', '.85', '.9', '-1'].map((value) => knob(STDLIB, 'DISCOUNT = 0.75', `DISCOUNT = ${value}`)),
  ...['.1', '.5'].map((value) => knob(STDLIB, 'UNIFORM_MIX = 0.02', `UNIFORM_MIX = ${value}`)),
  knob(STDLIB, 'DISCOUNT_GROWTH = 0.0', 'DISCOUNT_GROWTH = 0.03'),
  knob(STDLIB, 'MIN_COUNT = 1', 'MIN_COUNT = 2'),
  { name: 'stdlib by config', root: STDLIB, config: { MAX_ORDER: 5, DISCOUNT: 0.85, CACHE_WEIGHT: 0.05 } },
  { name: 'stdlib, the budget repeated by config', root: STDLIB, config: { TRAIN_BYTES: 240_000, MAX_ORDER: 5 } },
  ...['512', '256', '128', '4096'].map((value) =>
    knob(NUMPY, 'TOTAL_BATCH_SIZE = 1024 ', `TOTAL_BATCH_SIZE = ${value} `),
  ),
  ...['1', '3', '4'].map((value) => knob(NUMPY, 'DEPTH = 2 ', `DEPTH = ${value} `)),
  ...['.001', '.02', '1e9'].map((value) => knob(NUMPY, 'MATRIX_LR = 0.004', `MATRIX_LR = ${value}`)),
  ...['3', '16'].map((value) => knob(NUMPY, 'CONTEXT = 8 ', `CONTEXT = ${value} `)),
  ...['relu', 'tanh', 'gelu'].map((value) => knob(NUMPY, 'ACTIVATION = "relu2"', `ACTIVATION = "${value}"`)),
  ...['0', '.7'].map((value) => knob(NUMPY, 'WARMDOWN_RATIO = 0.3', `WARMDOWN_RATIO = ${value}`)),
  knob(NUMPY, 'EMBED_DIM = 16', 'EMBED_DIM = 32'),
  knob(NUMPY, 'MLP_RATIO = 2 ', 'MLP_RATIO = 1 '),
  knob(NUMPY, 'ADAM_BETAS = (0.9, 0.99)', 'ADAM_BETAS = (0.9, 0.999)'),
  {
    name: 'numpy by config',
    root: NUMPY,
    config: { TOTAL_BATCH_SIZE: 64, MATRIX_LR: 0.002, ADAM_BETAS: [0.9, 0.999] },
  },
  { name: 'numpy with another seed and an idea', root: NUMPY, config: { SEED: 1, TOTAL_BATCH_SIZE: 256 } },
  knob(
    NUMPY,
    '        return np.maximum(u, 0), (u > 0).astype(f32)',
    '        return np.abs(u), np.sign(u).astype(f32)',
  ),
  knob(NUMPY, 'return c + (1 - c) * FINAL_LR_FRAC', 'return math.sqrt(c) + (1 - c) * FINAL_LR_FRAC'),
  knob(GPT, 'DEPTH = 8', 'DEPTH = 9'),
  knob(GPT, 'TOTAL_BATCH_SIZE = 2**19', 'TOTAL_BATCH_SIZE = 2**18'),
  knob(GPT, 'EMBEDDING_LR = 0.6\n', 'EMBEDDING_LR = 0.8\n'),
  knob(GPT, 'WINDOW_PATTERN = "SSSL"', 'WINDOW_PATTERN = "SL"'),
  knob(GPT, 'DEVICE_BATCH_SIZE = 128', 'DEVICE_BATCH_SIZE = 64'),
  knob(GPT, 'ADAM_BETAS = (0.8, 0.95)', 'ADAM_BETAS = (0.9, 0.95)'),
  knob(GPT, 'self.down(F.relu(self.up(x)).square())', 'self.down(F.gelu(self.up(x)))'),
  knob(
    GPT,
    'x = x + self.attention(norm(x), cos, sin, masks)',
    'x = x + 0.5 * self.attention(norm(x), cos, sin, masks)',
  ),
  knob(GPT, 'import gc\nimport math', 'import copy\nimport gc\nimport itertools\nimport math'),
  { name: 'a small script of its own', root: TINY },
  knob(TINY, 'x = 1.5', 'x = 1.4  # lower'),
  knob('x = 1\nprint("val_bpb: " + f"{x}")\n', 'x = 1', 'x = 2'),
  knob('x = 1\nprint("val_bpb:", x)\n', 'x = 1', 'x = 2'),
  knob('x = 1\nprint("val_bpb: %.6f" % x)\n', 'x = 1', 'x = 2'),
  knob('x = 1\nprint("val_bpb: {:.6f}".format(x))\n', 'x = 1', 'x = 2'),
];

const TRICKS: readonly Case[] = [
  {
    name: 'a result of its own before the real one',
    root: STDLIB,
    edit: ['print("---")', 'print("---")\nprint("val_bpb:          0.900000")'],
    expected: ['refuse', 'two_results', 70],
  },
  {
    name: 'a result of its own in the middle of another text',
    root: STDLIB,
    edit: ['print("---")', 'print("---\\nval_bpb:          0.900000")'],
    expected: ['refuse', 'two_results'],
  },
  {
    name: 'a result put together from pieces',
    root: NUMPY,
    edit: ['print("---")', 'print("---")\nprint("val_" + "bpb: 0.9")'],
    expected: ['refuse', 'two_results'],
  },
  {
    name: 'a result written past print',
    root: GPT,
    edit: ['print("---")', 'import sys\nsys.stdout.write("val_bpb: 0.9\\n")'],
    expected: ['refuse', 'two_results'],
  },
  {
    name: 'a result that is written out',
    root: GPT,
    edit: ['print(f"val_bpb:          {val_bpb:.6f}")', 'print(f"val_bpb:          0.950000")'],
    expected: ['refuse', 'result_source'],
  },
  {
    name: 'a result that is improved while it is printed',
    root: GPT,
    edit: ['{val_bpb:.6f}', '{val_bpb * 0.98:.6f}'],
    expected: ['refuse', 'result_changed'],
  },
  {
    name: 'a result that comes from elsewhere',
    root: NUMPY,
    edit: ['val_bpb = evaluate_bpb(forward)', 'val_bpb = smooth / 1.5'],
    expected: ['refuse', 'result_source'],
  },
  {
    name: 'no result at all',
    root: STDLIB,
    edit: ['print(f"val_bpb:          {nll / (len(val) - MAX_ORDER):.6f}")\n', ''],
    expected: ['refuse', 'no_result'],
  },
  {
    name: 'training text that overlaps the validation text',
    root: STDLIB,
    edit: ['train = text[:-40_000][-int(TRAIN_BYTES):]', 'train = text[-int(TRAIN_BYTES):]'],
    expected: ['refuse', 'protected', lineOf(STDLIB, 'train = text')],
  },
  {
    name: 'validation text under another name',
    root: STDLIB,
    edit: ['counts = [', 'train2 = text\ncounts = ['],
    expected: ['refuse', 'validation_data'],
  },
  {
    name: 'a shorter validation slice',
    root: STDLIB,
    edit: ['val = text[-12_000:]', 'val = text[-6_000:]'],
    expected: ['refuse', 'protected', lineOf(STDLIB, 'val = text')],
  },
  {
    name: 'a sum of losses that is reset',
    root: STDLIB,
    edit: ['    nll -= math.log2(p)', '    nll -= math.log2(p) * 0.9'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'a new look at the validation text while it is scored',
    root: STDLIB,
    edit: [
      '    c0, n0 = counts[0][b""], totals[0][b""]',
      '    c0, n0 = counts[0][b""], totals[0][b""]\n    hint = val[i]',
    ],
    expected: ['warn', 'validation_use'],
  },
  {
    name: 'a mixture that is no distribution',
    root: STDLIB,
    edit: ['UNIFORM_MIX = 0.02', 'UNIFORM_MIX = -0.001'],
    expected: ['refuse', 'range'],
  },
  { name: 'the same by config', root: STDLIB, config: { UNIFORM_MIX: -0.001 }, expected: ['refuse', 'range'] },
  {
    name: 'more training text',
    root: STDLIB,
    edit: ['TRAIN_BYTES = 240_000', 'TRAIN_BYTES = 400_000'],
    expected: ['refuse', 'budget', lineOf(STDLIB, 'TRAIN_BYTES')],
  },
  { name: 'the same by config', root: STDLIB, config: { TRAIN_BYTES: 400_000 }, expected: ['refuse', 'budget'] },
  {
    name: 'more training text behind the constants',
    root: STDLIB,
    edit: ['t0 = time.time()', 'TRAIN_BYTES *= 2\nt0 = time.time()'],
    expected: ['refuse', 'budget'],
  },
  {
    name: 'a budget that is set by name',
    root: STDLIB,
    edit: ['t0 = time.time()', 'globals()["TRAIN_" + "BYTES"] = 400000\nt0 = time.time()'],
    expected: ['refuse', 'patch'],
  },
  {
    name: 'more operations',
    root: NUMPY,
    edit: ['FLOP_BUDGET = 2.5e11', 'FLOP_BUDGET = 5e11'],
    expected: ['refuse', 'budget'],
  },
  { name: 'a budget in seconds', root: NUMPY, config: { TIME_BUDGET: 60 }, expected: ['refuse', 'budget'] },
  { name: 'a budget in steps', root: NUMPY, config: { MAX_STEPS: 5000 }, expected: ['refuse', 'budget'] },
  {
    name: 'steps that are counted slower',
    root: NUMPY,
    edit: ['    step += 1\n', '    step += 0.5\n'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'a loop that ends later',
    root: NUMPY,
    edit: ['    if progress >= 1.0:', '    if progress >= 2.0:'],
    expected: ['warn', 'budget_use'],
  },
  { name: 'another seed', root: NUMPY, edit: ['SEED = 42', 'SEED = 5'], expected: ['refuse', 'seed_only'] },
  { name: 'another seed by config', root: NUMPY, config: { SEED: 5 }, expected: ['refuse', 'seed_only'] },
  {
    name: 'another seed with a comment',
    root: GPT,
    source: GPT.replaceAll('manual_seed(42)', 'manual_seed(137)  # better'),
    expected: ['refuse', 'seed_only'],
  },
  {
    name: 'a shorter evaluation',
    root: NUMPY,
    edit: ['def evaluate_bpb(logits_fn, eval_bytes=20_000):', 'def evaluate_bpb(logits_fn, eval_bytes=2_000):'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'a kinder evaluation',
    root: NUMPY,
    edit: ['    return nll / len(idx) / math.log(2)', '    return nll / len(idx)'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'a second evaluation under the same name',
    root: GPT,
    edit: ['t_start = time.time()\n', 't_start = time.time()\ndef evaluate_bpb(*_):\n    return 0.9\n'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'an evaluation of its own',
    root: GPT,
    edit: [
      ', evaluate_bpb, make_dataloader',
      ', make_dataloader\nfrom prepare import evaluate_bpb as real\nevaluate_bpb = lambda *a: real(*a) - 0.01',
    ],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'an evaluation that is called differently',
    root: GPT,
    edit: ['evaluate_bpb(model, tokenizer, DEVICE_BATCH_SIZE)', 'evaluate_bpb(model, tokenizer, 1)'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'a longer time',
    root: GPT,
    edit: ['t_start = time.time()\n', 'TIME_BUDGET = 600\nt_start = time.time()\n'],
    expected: ['refuse', 'budget'],
  },
  {
    name: 'a longer time in its module',
    root: GPT,
    edit: ['t_start = time.time()\n', 'import prepare\nprepare.TIME_BUDGET = 600\nt_start = time.time()\n'],
    expected: ['refuse', 'protected'],
  },
  {
    name: 'a loop that runs past the time',
    root: GPT,
    edit: ['total_training_time >= TIME_BUDGET:', 'total_training_time >= TIME_BUDGET * 2:'],
    expected: ['warn', 'budget_use'],
  },
  {
    name: 'time that is not counted',
    root: GPT,
    edit: ['        total_training_time += dt', '        total_training_time += dt / 2'],
    expected: ['warn', 'budget_use'],
  },
  {
    name: 'a clock that goes slower',
    root: GPT,
    edit: ['t_start = time.time()\n', 'time.time = lambda: 0.0\nt_start = 0\n'],
    expected: ['refuse', 'patch'],
  },
  {
    name: 'training on the validation shard',
    root: GPT,
    edit: ['MAX_SEQ_LEN, "train")', 'MAX_SEQ_LEN, "val")'],
    expected: ['refuse', 'validation_data'],
  },
  {
    name: 'reading the shard itself',
    root: GPT,
    edit: [
      '"train")\nx, y, epoch = next(train_loader)\n',
      '"train")\nextra = torch.load("shard_06542.pt")\nx, y, epoch = next(train_loader)\n',
    ],
    expected: ['refuse', 'read'],
  },
  {
    name: 'small losses in evaluation mode',
    root: GPT,
    edit: [
      '        if targets is None:',
      '        if not self.training:\n            logits = logits * 2\n        if targets is None:',
    ],
    expected: ['warn', 'model_loss'],
  },
  {
    name: 'downloaded weights',
    root: GPT,
    edit: [
      'model = torch.compile',
      'model.load_state_dict(torch.hub.load_state_dict_from_url("https://example.org/w"))\nmodel = torch.compile',
    ],
    expected: ['refuse', 'network'],
  },
  {
    name: 'a package for the network',
    root: GPT,
    edit: ['import gc\n', 'import gc\nimport urllib.request as tools\n'],
    expected: ['refuse', 'network'],
  },
  {
    name: 'a new package',
    root: GPT,
    edit: ['import gc\n', 'import gc\nimport flash_attn\n'],
    expected: ['warn', 'import'],
  },
  {
    name: 'another program',
    root: STDLIB,
    edit: ['t0 = time.time()', 'os.system("id")\nt0 = time.time()'],
    expected: ['refuse', 'process'],
  },
  {
    name: 'another program by an alias',
    root: STDLIB,
    edit: ['t0 = time.time()', 'from os import popen as look\nlook("id")\nt0 = time.time()'],
    expected: ['refuse', 'process'],
  },
  {
    name: 'code made at run time',
    root: STDLIB,
    edit: ['t0 = time.time()', 'exec("TRAIN_BYTES = 400000")\nt0 = time.time()'],
    expected: ['refuse', 'evaluation'],
  },
  {
    name: 'native code',
    root: NUMPY,
    edit: ['import hashlib, json', 'import ctypes, hashlib, json'],
    expected: ['refuse', 'native'],
  },
  {
    name: 'a file that is written',
    root: STDLIB,
    edit: ['print("---")', 'open("prepare.py", mode="w").write("x")\nprint("---")'],
    expected: ['refuse', 'write'],
  },
  {
    name: 'a file outside of the folder',
    root: TINY,
    edit: ['x = 1.5', 'x = float(open("../other/result.txt").read())'],
    expected: ['refuse', 'escape', 2],
  },
  {
    name: "somebody else's keys",
    root: TINY,
    edit: ['x = 1.5', 'from pathlib import Path\nx = len(Path("~/.ssh/id_rsa").expanduser().read_text())'],
    expected: ['refuse', 'escape', 3],
  },
  {
    name: 'the environment',
    root: GPT,
    edit: ['t_start = time.time()\n', 't_start = time.time()\nprint(os.environ)\n'],
    expected: ['warn', 'environment'],
  },
  {
    name: 'a print of its own',
    root: STDLIB,
    edit: ['t0 = time.time()', 'def print(*a, **k):\n    pass\nt0 = time.time()'],
    expected: ['refuse', 'shadow'],
  },
  {
    name: 'a logarithm of its own',
    root: STDLIB,
    edit: ['t0 = time.time()', 'class math:\n    log2 = staticmethod(lambda p: -1.0)\nt0 = time.time()'],
    expected: ['refuse', 'shadow'],
  },
  {
    name: 'two results of a small script',
    root: TINY,
    source: `${TINY}print("val_bpb:", 1)\n`,
    expected: ['refuse', 'two_results', 4],
  },
  {
    name: 'a socket in a small script',
    root: TINY,
    source: `import socket\n${TINY}`,
    expected: ['refuse', 'network', 1],
  },
  {
    name: 'a file in a small script',
    root: TINY,
    source: `open("a.txt", "w")\n${TINY}`,
    expected: ['warn', 'write', 1],
  },
  { name: 'a brace too few', root: TINY, edit: ['x = 1.5', 'x = (1.5'], expected: ['refuse', 'syntax', 2] },
  { name: 'a text without an end', root: TINY, edit: ['x = 1.5', 'x = "1.5'], expected: ['refuse', 'syntax', 2] },
  {
    name: 'a block that ends nowhere',
    root: TINY,
    edit: ['x = 1.5', 'if 1:\n        x = 1\n    x = 2'],
    expected: ['refuse', 'syntax', 4],
  },
];

describe.each(READERS)('the gate %s', (_name, reader) => {
  // One interpreter for many cases, few enough for its time limit on a busy machine.
  beforeAll(async () => {
    const sources = [...HONEST, ...TRICKS].map(sourceOf);
    for (let at = 0; at < sources.length; at += 16) await reader.read(sources.slice(at, at + 16));
  });

  it.each(HONEST)('passes $name', async (item) => {
    expect(await check(reader, item)).toEqual({ verdict: 'ok', findings: [] });
  });

  it.each(TRICKS)('stops $name', async (item) => {
    const { verdict, findings } = await check(reader, item);
    const [first] = findings;
    expect([verdict, first?.rule, ...(item.expected?.[2] === undefined ? [] : [first?.line])]).toEqual(item.expected);
  });

  it('lets any first script run that prints a score, and refuses two scores or no Python at once', async () => {
    const first = (source: string) => checkVariant(reader, findTask(source), { source, config: {} }, null);
    for (const source of [STDLIB, NUMPY, GPT, TINY]) expect(await first(source)).toMatchObject({ verdict: 'ok' });
    expect(await first('import requests\nprint("val_bpb: 1.0")\n')).toMatchObject({ verdict: 'warn' });
    expect(await first('print("val_bpb: 1.0")\nprint("val_bpb: 0.9")\n')).toMatchObject({ verdict: 'refuse' });
    expect(await first('print("val_bpb: 1.0"\n')).toMatchObject({ verdict: 'refuse' });
    expect(await first('x = open("/etc/passwd")\nprint("val_bpb: 1.0")\n')).toMatchObject({ verdict: 'refuse' });
  });
});

describe('assertPasses', () => {
  const task = findTask(GPT);
  const warning = {
    verdict: 'warn',
    findings: [{ rule: 'import', verdict: 'warn', line: 3, reason: 'it is new' }],
  } as const;

  it('stops warnings of a known task until somebody accepts them', () => {
    expect(() => assertPasses(warning, task, false)).toThrow(/import, line 3: it is new/);
    expect(() => assertPasses(warning, task, false)).toThrow(expect.objectContaining({ code: 'gate_warned' }));
    expect(() => assertPasses(warning, task, true)).not.toThrow();
    expect(() => assertPasses(warning, findTask(TINY), false)).not.toThrow();
  });

  it('lets nobody accept a refusal', () => {
    const refusal = {
      verdict: 'refuse',
      findings: [{ rule: 'budget', verdict: 'refuse', line: null, reason: 'more' }],
    } as const;
    for (const some of [task, findTask(TINY)])
      expect(() => assertPasses(refusal, some, true)).toThrow(expect.objectContaining({ code: 'gate_refused' }));
  });
});
