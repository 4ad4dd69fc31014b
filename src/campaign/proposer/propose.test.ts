import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { sha256 } from '../../base/hash.ts';
import { hashVariant } from '../../experiment/variant.ts';
import type { Observation } from './evidence.ts';
import { numberOf } from './literals.ts';
import { propose } from './propose.ts';
import { type Program, readPoint } from './space.ts';

const SOURCE = `DEPTH = 4
LR = 0.01        # rate
GATE = 0.0
ACT = "relu"     # relu | gelu
SEED = 42
TIME_BUDGET = 300
`;

/** A landscape with an interaction: more depth hurts until the gate is open. */
function scoreOf(program: Program): number | null {
  const at = (key: string) => {
    const literal = readPoint(program).values.get(key);
    return literal ? (numberOf(literal) ?? 0) : 0;
  };
  const gate = at('GATE');
  if (gate > 0.9) return null;
  const depth = gate > 0 ? 0.01 * (at('DEPTH') - 6) ** 2 - 0.06 : 0.02 * (at('DEPTH') - 4) ** 2;
  const act = program.source.includes('"gelu"') ? -0.01 : 0;
  return 2 + depth + 0.03 * Math.log2(at('LR') / 0.02) ** 2 + (gate - 0.05) ** 2 * 4 + act;
}

function runCampaign(rounds: number, seed: string, count = 1, root: Program = { source: SOURCE, config: {} }) {
  const programs: Program[] = [root];
  const observations: Observation[] = [{ id: '0', point: readPoint(root), score: scoreOf(root), parentId: null }];
  const hypotheses: string[] = [];
  let base = 0;
  while (programs.length <= rounds) {
    const observation = observations[base];
    const program = programs[base];
    if (!observation || !program) throw new TypeError('no base');
    const proposals = propose({
      base: { program, observation, score: observation.score ?? 9 },
      observations,
      taken: new Set(programs.map(({ source, config }) => hashVariant(sha256(source), config))),
      pending: [],
      sigma: 1e-4,
      locked: null,
      ranges: {},
      seed,
      count,
    });
    if (proposals.length === 0) break;
    const parentId = String(base);
    for (const proposal of proposals) {
      const score = scoreOf(proposal.program);
      programs.push(proposal.program);
      hypotheses.push(proposal.hypothesis);
      observations.push({ id: String(programs.length - 1), point: readPoint(proposal.program), score, parentId });
      if (score !== null && score < (observations[base]?.score ?? 9)) base = programs.length - 1;
    }
  }
  return { programs, observations, hypotheses, best: Math.min(...observations.map(({ score }) => score ?? 9)) };
}

it('finds a switch, follows it, and tries again what hurt before it', () => {
  for (const seed of ['a', 'b', 'c', 'd']) {
    const { best, programs } = runCampaign(25, seed);
    expect(best).toBeLessThan(1.945);
    expect(programs.some(({ source }) => source.includes('ACT = "gelu"'))).toBe(true);
  }
});

it('gives the same proposals for the same seed and history, and others for another seed', () => {
  const sources = (seed: string) => runCampaign(12, seed).programs.map(({ source }) => source);
  expect(sources('one')).toEqual(sources('one'));
  expect(sources('one')).not.toEqual(sources('two'));
});

it('never runs a variant twice, never touches seed or budget, and stops when nothing is left', () => {
  const { programs } = runCampaign(2_000, 'x');
  const sources = programs.map(({ source }) => source);
  expect(programs.length).toBeLessThan(500);
  expect(new Set(sources).size).toBe(sources.length);
  expect(sources.every((source) => source.endsWith('SEED = 42\nTIME_BUDGET = 300\n'))).toBe(true);
});

it('fills a wave with tests of different knobs', () => {
  const { programs } = runCampaign(3, 'w', 3);
  const root = readPoint({ source: SOURCE, config: {} });
  const keys = programs
    .slice(1)
    .map((program) =>
      [...readPoint(program).values].filter(
        ([key, value]) => JSON.stringify(root.values.get(key)) !== JSON.stringify(value),
      ),
    );
  expect(keys.every((changed) => changed.length === 1)).toBe(true);
  expect(new Set(keys.flat().map(([key]) => key)).size).toBe(3);
});

it('proposes nothing for a script without knobs', () => {
  const { programs } = runCampaign(5, 'n', 1, { source: 'print("val_bpb: 1.0")\n', config: {} });
  expect(programs).toHaveLength(1);
});

it('finds the knobs of the example jobs and leaves their rules alone', () => {
  const source = readFileSync(new URL('../../localnet/examples/train_numpy.py', import.meta.url), 'utf8');
  const { values } = readPoint({ source, config: {} });
  expect([...values.keys()]).toContain('ADAM_BETAS[1]');
  expect([...values.keys()]).toContain('ACTIVATION');
});

/** Proposals after single-knob runs from the root, the one at `base` being built on. */
function proposeAfter(runs: readonly (readonly [from: string, to: string, score: number])[], base: number) {
  const root: Program = { source: SOURCE, config: {} };
  const tried = runs.map(([from, to]): Program => ({ source: SOURCE.replace(from, to), config: {} }));
  const observations = [root, ...tried].map((program, index): Observation => {
    const score = index === 0 ? 2 : (runs[index - 1]?.[2] ?? 9);
    return { id: String(index), point: readPoint(program), score, parentId: index === 0 ? null : '0' };
  });
  const [program, observation] = [tried[base], observations[base + 1]];
  if (!program || !observation) throw new TypeError('no base');
  const taken = new Set([root, ...tried].map(({ source, config }) => hashVariant(sha256(source), config)));
  const score = observation.score ?? 9;
  const input = { observations, taken, pending: [], sigma: 1e-4, locked: null, ranges: {}, seed: 'x', count: 1 };
  return propose({ ...input, base: { program, observation, score } });
}

it('puts a gain that was found beside the base into it before it gambles', () => {
  const [next] = proposeAfter(
    [
      ['GATE = 0.0', 'GATE = 0.1', 1.97],
      ['LR = 0.01 ', 'LR = 0.02 ', 1.975],
    ],
    0,
  );
  expect(next?.program.source).toContain('LR = 0.02 ');
  expect(next?.program.source).toContain('GATE = 0.1');
});

it('leaves a switch alone that only has to be on', () => {
  const source = SOURCE.replace('GATE = 0.0', 'GATE = 0.1');
  const known = (gate: string, score: number): Observation => {
    const point = readPoint({ source: source.replace('GATE = 0.1', `GATE = ${gate}`), config: {} });
    return { id: gate, point, score, parentId: gate === '0.0' ? null : gate === '0.1' ? '0.0' : '0.1' };
  };
  const on = known('0.1', 1.97);
  const next = propose({
    base: { program: { source, config: {} }, observation: on, score: 1.97 },
    observations: [known('0.0', 2), on, known('0.2', 1.97)],
    taken: new Set(),
    pending: [],
    sigma: 1e-4,
    locked: null,
    ranges: {},
    seed: 'x',
    count: 4,
  });
  expect(next).toHaveLength(4);
  expect(next.every((proposal) => proposal.program.source.includes('GATE = 0.1'))).toBe(true);
});
