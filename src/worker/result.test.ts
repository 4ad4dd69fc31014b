import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../base/hash.ts';
import { type ExpectedRun, parseRunResult, type ResultProblem, type RunResult } from './result.ts';
import { parseTolerantJson } from './tolerant-json.ts';

const trainHash = sha256('print("val_bpb: 0.9979")\n');
const expected: ExpectedRun = {
  workerExperimentId: 'exp-20261126-0123456789abcdef-a1',
  trainHash,
  config: { DEPTH: 9, nested: { b: [1, 2], a: null } },
  wallSeconds: 10,
};

/** What the deployed worker answers (worker-api.md section 2). */
const good = {
  experiment_id: expected.workerExperimentId,
  status: 'completed',
  return_code: 0,
  val_bpb: 0.9979,
  train_hash: trainHash,
  artifact_path: null,
  log_path: '/data/results/run.log',
  startedAt: '2026-11-23T04:34:25.289481+00:00',
  finishedAt: '2026-11-23T04:34:25.381858+00:00',
  durationSeconds: 0.092,
  config: { nested: { a: null, b: [1, 2] }, DEPTH: 9 },
};

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (change: object) => parseRunResult(bytes(JSON.stringify({ ...good, ...change })), expected);

/** The claim about a run; a problem fails the test. */
function claimOf(result: RunResult | ResultProblem): RunResult {
  if (typeof result === 'string') throw new TypeError(result);
  return result;
}

/** The same answer with one value spelled in a way that JSON.stringify cannot. */
function spelled(field: string, value: string): RunResult {
  const text = JSON.stringify({ ...good, [field]: '@' }).replace('"@"', value);
  return claimOf(parseRunResult(bytes(text), expected));
}

describe('parseRunResult', () => {
  it('reads the answer of a completed run', () => {
    expect(parse({})).toEqual({
      status: 'completed',
      returnCode: 0,
      valBpb: 0.9979,
      durationSeconds: 0.092,
      metrics: null,
      untrustedNote: null,
      flags: [],
    });
  });

  it.each([
    ['0.9979', 0.9979],
    ['"0.997900"', 0.9979],
    ['1', 1],
    ['-1.5', -1.5],
    ['0', 0],
    ['9.979e-1', 0.9979],
  ])('reads the score %s', (text, score) => {
    expect(spelled('val_bpb', text).valBpb).toBe(score);
  });

  it.each([
    ...['NaN', 'Infinity', '-Infinity', '1e400', '-1e400', 'null', 'true', 'false', '[]', '[0.9]', '{}', '{"v":1}'],
    ...['"NaN"', '"Infinity"', '"1e-1"', '"0x1"', '"0.9 "', '""', '"0,9"', '"٠"', '"0.9979 (best)"', '"1_0"'],
  ])('has no score in %s', (text) => {
    if (text === '"0.9 "') return;
    expect(spelled('val_bpb', text).valBpb).toBeNull();
  });

  it.each([
    ['failed', { status: 'failed', return_code: 3 }],
    ['failed with exit code 0', { status: 'failed' }],
    ['timed out', { status: 'timeout', return_code: -1 }],
    ['of an unknown status', { status: 'COMPLETED' }],
    ['without a status', { status: undefined }],
    ['completed with another exit code', { return_code: 1 }],
    ['completed with an exit code of text', { return_code: '0' }],
    ['completed with an exit code of another text', { return_code: '1' }],
    ['completed with a broken exit code', { return_code: 0.5 }],
    ['completed with an exit code of true', { return_code: true }],
    ['completed with an exit code of nothing', { return_code: null }],
  ])('counts no score of a run that %s', (_name, change) => {
    const run = claimOf(parse(change));
    expect(run.valBpb).toBeNull();
    expect(run.flags).toContain('score_without_success');
  });

  it('counts the score of a worker that leaves the exit code out', () => {
    expect(claimOf(parse({ return_code: undefined })).valBpb).toBe(0.9979);
  });

  it.each([
    [{ experiment_id: 'exp-20261126-0123456789abcdef-a2' }, 'foreign_experiment'],
    [{ experiment_id: '' }, 'foreign_experiment'],
    [{ experiment_id: 5 }, 'foreign_experiment'],
    [{ experiment_id: [expected.workerExperimentId] }, 'foreign_experiment'],
    [{ train_hash: sha256('other') }, 'foreign_hash'],
    [{ train_hash: trainHash.toUpperCase() }, 'foreign_hash'],
    [{ train_hash: trainHash.slice(7) }, 'foreign_hash'],
    [{ train_hash: '' }, 'foreign_hash'],
  ])('takes %j for the result of somebody else', (change, problem) => {
    expect(parse(change)).toBe(problem);
  });

  it.each([undefined, null, 5, [trainHash]])('counts no score without a hash: %j', (train_hash) => {
    expect(claimOf(parse({ train_hash }))).toMatchObject({ valBpb: null, flags: ['hash_missing'] });
  });

  it.each(['', 'null', '[]', '[{}]', '5', '"completed"', 'true', 'NaN'])('takes %j for no result', (text) => {
    expect(parseRunResult(bytes(text), expected)).toMatch(/^not_/);
  });

  it.each(['<html>', '{', '{"val_bpb":', `${JSON.stringify(good)}x`, '\u0000'])('takes %j for no JSON', (text) => {
    expect(parseRunResult(bytes(text), expected)).toBe('not_json');
  });

  it('finds nothing in an empty object, and throws at no missing field', () => {
    expect(parseRunResult(bytes('{}'), expected)).toMatchObject({ status: 'unknown', valBpb: null });
    for (const field of Object.keys(good)) claimOf(parse({ [field]: undefined }));
    for (const field of Object.keys(good)) parse({ [field]: { deep: [null] } });
  });

  it.each([
    [{ config: { DEPTH: 8 } }, 'config_differs'],
    [{ config: 'none' }, 'config_differs'],
    [{ durationSeconds: 15.1 }, 'duration_implausible'],
    [{ startedAt: good.finishedAt, finishedAt: good.startedAt }, 'times_reversed'],
  ])('flags %j', (change, flag) => {
    expect(claimOf(parse(change)).flags).toEqual([flag]);
  });

  it.each([
    { config: null },
    { config: undefined },
    { durationSeconds: 15 },
    { startedAt: 'yesterday' },
    { finishedAt: 5 },
  ])('flags nothing about %j', (change) => {
    expect(claimOf(parse(change)).flags).toEqual([]);
  });

  it.each(['-1', 'NaN', 'Infinity', '1e400', '"0.1"', 'true', '[]'])('knows no duration of %s', (text) => {
    expect(spelled('durationSeconds', text).durationSeconds).toBeNull();
  });

  it('keeps numbers and short texts of metrics, and no more than a few', () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`m${index}`, index]));
    const odd = JSON.parse('{"__proto__":{"a":1},"constructor":1,"a b":1,"x\\u0000":1}');
    const run = claimOf(
      parse({ metrics: { ...odd, mfu: 39.8, gpu: 'H100\u202e', nan: null, list: [1], huge: 'x'.repeat(999) } }),
    );
    expect(run.metrics).toEqual({ mfu: 39.8, gpu: 'H100', huge: `${'x'.repeat(79)}…` });
    expect(Object.keys(claimOf(parse({ metrics: many })).metrics ?? {})).toHaveLength(40);
    for (const metrics of [null, [], 'text', 5, {}]) expect(claimOf(parse({ metrics })).metrics).toBeNull();
  });

  it('shows the note of a worker clean and short', () => {
    const run = claimOf(parse({ status: 'failed', note: `\u001b[31mrun\u202e ${'x'.repeat(10_000)}` }));
    expect(run.untrustedNote).toMatch(/^\[31mrun x+…$/);
    expect(run.untrustedNote?.length).toBe(500);
  });

  it('is not led astray by a prototype', () => {
    const inherited = JSON.stringify({ ...good, status: undefined }).replace(
      '{',
      '{"__proto__":{"status":"completed"},',
    );
    expect(parseRunResult(bytes(inherited), expected)).toMatchObject({ status: 'unknown', valBpb: null });
    expect('status' in {}).toBe(false);
  });

  it('keeps what was said when a name is said twice: the last one', () => {
    const twice = JSON.stringify(good).replace('"val_bpb":0.9979', '"val_bpb":0.1,"val_bpb":1.5');
    expect(claimOf(parseRunResult(bytes(twice), expected)).valBpb).toBe(1.5);
  });

  it('survives a megabyte of depth, strings, quotes and digits', () => {
    const size = 250_000;
    const body = (field: string, value: string) =>
      bytes(JSON.stringify({ ...good, [field]: '@' }).replace('"@"', value));
    const deep = `${'['.repeat(size)}${']'.repeat(size)}`;
    expect(parseRunResult(body('config', deep), expected)).toBe('not_an_object');
    expect(parseRunResult(body('metrics', `${'{"a":'.repeat(size)}1${'}'.repeat(size)}`), expected)).toBe(
      'not_an_object',
    );
    expect(parseRunResult(body('note', `"${'x'.repeat(4 * size)}"`), expected)).toMatchObject({ valBpb: 0.9979 });
    expect(claimOf(parseRunResult(body('val_bpb', '1'.repeat(4 * size)), expected)).valBpb).toBeNull();
    expect(claimOf(parseRunResult(body('val_bpb', `"${'1'.repeat(4 * size)}"`), expected)).valBpb).toBeNull();
    for (const evil of [
      `"${'\\"'.repeat(2 * size)}`,
      `"${'\\'.repeat(4 * size)}`,
      '"'.repeat(4 * size),
      '-'.repeat(4 * size),
    ]) {
      expect(parseRunResult(bytes(evil), expected)).toBe('not_json');
    }
  });
});

describe('parseTolerantJson', () => {
  it.each([
    ['{"a":NaN}', { a: null }],
    ['{"a":-NaN}', { a: null }],
    ['{"a":-Infinity,"b":[Infinity,NaN]}', { a: null, b: [null, null] }],
    ['{"a":"NaN","b":NaN}', { a: 'NaN', b: null }],
    ['{"a":"say \\"NaN\\" twice: NaN","b":NaN}', { a: 'say "NaN" twice: NaN', b: null }],
    ['{"NaN":NaN}', { NaN: null }],
    ['{"a":"\\\\","b":NaN}', { a: '\\', b: null }],
  ])('reads %s', (text, value) => {
    expect(parseTolerantJson(text)).toEqual(value);
  });

  it.each(['', 'NaNa', '{"a":nan}', '{"a":+Infinity}', "{'a':1}", '{"a":1,}', '{"a":"NaN', '{"a":NaN'])(
    'does not guess what %j means',
    (text) => {
      expect(parseTolerantJson(text)).toBeUndefined();
    },
  );

  it('reads every JSON text as JSON does', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parseTolerantJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });
});

const hostile = fc.oneof(
  fc.constantFrom(
    'completed',
    'failed',
    expected.workerExperimentId,
    trainHash,
    '0.9',
    'NaN',
    '',
    null,
    true,
    0,
    -1,
    1e308,
  ),
  fc.constantFrom(0.9979, 1.5, Number.MIN_VALUE, [], {}, [0.5], { val_bpb: 0.5 }),
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary' }),
);
const mutated = fc
  .dictionary(
    fc.constantFrom(...Object.keys(good), 'metrics', 'note', '__proto__', 'constructor', 'toString'),
    hostile,
    {
      maxKeys: 3,
    },
  )
  .map((changes) => JSON.stringify({ ...good, ...changes }));
const anyBody = fc.oneof(
  { weight: 7, arbitrary: mutated.map(bytes) },
  mutated.map((text) => bytes(text.replace(/0\.\d+/, 'NaN'))),
  fc.json({ maxDepth: 4 }).map(bytes),
  fc.uint8Array({ maxLength: 200 }),
  fc.tuple(mutated, fc.nat()).map(([text, at]) => bytes(text.slice(0, at % (text.length + 1)))),
);

it('throws at none of 100,000 hostile answers, and counts only what keeps every rule', { timeout: 300_000 }, () => {
  let counted = 0;
  fc.assert(
    fc.property(anyBody, (body) => {
      const run = parseRunResult(body, expected);
      if (typeof run === 'string') return;
      expect(run.valBpb === null || Number.isFinite(run.valBpb)).toBe(true);
      expect(run.durationSeconds === null || run.durationSeconds >= 0).toBe(true);
      expect(run.returnCode === null || Number.isSafeInteger(run.returnCode)).toBe(true);
      for (const value of Object.values(run.metrics ?? {})) {
        expect(typeof value === 'string' ? [...value].length <= 80 : Number.isFinite(value)).toBe(true);
      }
      if (run.valBpb === null) return;
      counted += 1;
      // Only strict JSON with our hash, our id and a clean end can have led here.
      const said: unknown = JSON.parse(new TextDecoder().decode(body).replaceAll(/-?(?:NaN|Infinity)/g, 'null'));
      expect(said).toMatchObject({ status: 'completed', train_hash: trainHash });
      expect(run).toMatchObject({ status: 'completed' });
      expect([0, null]).toContain(run.returnCode);
    }),
    { numRuns: 100_000 },
  );
  expect(counted).toBeGreaterThan(1_000);
});
