// Few campaigns of `npm run bench:science`: real engine, judge, audits and standings, simulated workers, seeded luck.
import { expect, it } from 'vitest';
import { compareRules, SCENARIOS } from '../bench/science/scenarios.ts';
import { summarize } from '../bench/science/table.ts';

const SPEND = 40;

async function play(name: string, seeds: readonly string[]) {
  const scenario = SCENARIOS.find((known) => known.name === name);
  if (!scenario) throw new Error(`no scenario ${name}`);
  const comparisons = [];
  for (const seed of seeds) comparisons.push(await compareRules(scenario, seed, SPEND));
  return summarize(scenario, comparisons);
}

it('crowns what is better and nothing else, where "lower is better" is fooled', async () => {
  const { ours, plain } = await play('GPU job, realistic noise', ['1', '2']);
  expect(ours.champions).toBeGreaterThan(1);
  expect(ours.isFalse).toBe(0);
  expect(ours.gain).toBeGreaterThan(0);
  expect(plain.isFalse).toBeGreaterThan(0);
});

it('lets no lie become champion where three workers of ten lie', async () => {
  const { ours, plain, liars } = await play('30 % liars', ['1', '2']);
  expect(liars.lies).toBeGreaterThan(10);
  expect(liars.caught).toBeGreaterThan(0);
  expect(ours.isFalse).toBe(0);
  expect(plain.lies).toBeGreaterThan(0);
});
