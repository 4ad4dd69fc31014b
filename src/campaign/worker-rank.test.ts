import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { draftOne } from '../../test/drafted-run.ts';
import { experimentIdOf } from '../../test/store-rows.ts';
import { ExperimentId } from '../base/ids.ts';
import { atomicUsdc } from '../base/money.ts';
import type { Experiment, Role } from '../experiment/experiment.ts';
import type { ChoiceFacts, PricedCandidate } from './choice-facts.ts';
import { NEW_STANDING, type Standing } from './standing.ts';
import { compareCandidates, expectCost, explain } from './worker-rank.ts';

const ENDPOINTS = ['a', 'b', 'c', 'd'].map((host) => `https://${host}.example/w`);
const [A = '', B = '', C = '', D = ''] = ENDPOINTS;
const CHEAP = 10_000;
const PRICES: readonly number[] = [CHEAP, 20_000, 40_000, 80_000];

const PROVEN: Standing = { ...NEW_STANDING, agreements: 1 };

/** What is known where nothing is. */
const NOTHING: ChoiceFacts = {
  nowMs: 1_790_000_000_000,
  workers: [],
  taken: new Set(),
  records: new Map(),
  standings: new Map(),
  durations: new Map(),
  tiers: new Map(),
  wantedTier: null,
  parties: [],
  preferred: null,
  fetchPrices: async () => new Map(),
};

/** Somebody ran the program already: this run repeats it. */
const REPEAT: ChoiceFacts = { ...NOTHING, parties: [{ endpoint: 'https://first.example/w', payTo: null }] };

/** An experiment from the journal; the first test drafts it for all, which vary its id and role. */
let drafted: Promise<Experiment> | undefined;

async function buildRun(index: number, role: Role = 'audit'): Promise<Experiment> {
  drafted ??= draftOne(10 * CHEAP, NOTHING.nowMs);
  return { ...(await drafted), role, experimentId: ExperimentId.parse(experimentIdOf(index)) };
}

/** Workers at these prices, in the order of their endpoints. */
function priceAll(prices: readonly number[], facts: ChoiceFacts): PricedCandidate[] {
  return ENDPOINTS.map((endpoint, index) => {
    const priceAtomic = atomicUsdc(prices[index] ?? CHEAP);
    const expectedAtomic = expectCost(endpoint, priceAtomic, facts);
    return { endpoint, workerId: null, owner: null, isBusy: false, priceAtomic, expectedAtomic };
  });
}

function rank(candidates: readonly PricedCandidate[], run: Experiment, facts: ChoiceFacts): string[] {
  return candidates.toSorted((a, b) => compareCandidates(a, b, run, facts)).map(({ endpoint }) => endpoint);
}

/** Many experiments, so that what is about even for one worker in four lies within five deviations. */
const SAMPLE = 2_000;

/** How often each worker came first among many experiments. */
async function countFirsts(facts: ChoiceFacts, role: Role): Promise<number[]> {
  const candidates = priceAll(PRICES, facts);
  const firsts = new Map(ENDPOINTS.map((endpoint) => [endpoint, 0]));
  for (let index = 0; index < SAMPLE; index += 1) {
    const [first = ''] = rank(candidates, await buildRun(index, role), facts);
    firsts.set(first, (firsts.get(first) ?? 0) + 1);
  }
  return [...firsts.values()];
}

const arbitraryPrices = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 4, maxLength: 4 });
const arbitraryIndex = fc.nat({ max: 2 ** 40 });

describe('who repeats a run', () => {
  it.each<Role>(['audit', 'confirmation', 'retest'])('of role %s is each worker about as often', async (role) => {
    const firsts = await countFirsts(REPEAT, role);
    for (const count of firsts) expect(Math.abs(count - SAMPLE / 4)).toBeLessThan(100);
    expect(firsts.reduce((sum, count) => sum + count, 0)).toBe(SAMPLE);
  });

  it('does not depend on prices, speed, or the order in which workers were found', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryIndex,
        arbitraryPrices,
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 4, maxLength: 4 }),
        fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
        async (index, prices, seconds, order) => {
          const run = await buildRun(index);
          const durations = new Map(ENDPOINTS.map((endpoint, at) => [endpoint, seconds[at] ?? 1]));
          const candidates = priceAll(prices, { ...REPEAT, durations });
          const found = order.flatMap((at) => candidates[at] ?? []);
          expect(rank(found, run, { ...REPEAT, durations })).toEqual(rank(priceAll([], REPEAT), run, REPEAT));
        },
      ),
    );
  });

  it('is the next in the draw where a worker is missing: no lot depends on who else is there', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryIndex, fc.constantFrom(...ENDPOINTS), async (index, missing) => {
        const run = await buildRun(index);
        const all = priceAll(PRICES, REPEAT);
        const rest = all.filter(({ endpoint }) => endpoint !== missing);
        const expected = rank(all, run, REPEAT).filter((endpoint) => endpoint !== missing);
        expect(rank(rest, run, REPEAT)).toEqual(expected);
      }),
    );
  });

  it('is drawn anew for each experiment: one draw tells nothing of the next', async () => {
    const candidates = priceAll(PRICES, REPEAT);
    let same = 0;
    for (let index = 0; index < SAMPLE; index += 1) {
      const [one, next] = [await buildRun(index), await buildRun(index + 1)];
      if (rank(candidates, one, REPEAT)[0] === rank(candidates, next, REPEAT)[0]) same += 1;
    }
    expect(Math.abs(same - SAMPLE / 4)).toBeLessThan(100);
  });

  it('is one that is free, and on the wanted tier, before the draw', async () => {
    const facts = { ...REPEAT, wantedTier: 'large', tiers: new Map(ENDPOINTS.map((one) => [one, 'large'])) };
    facts.tiers.set(A, 'small');
    const candidates = priceAll(PRICES, facts).map((one) => ({ ...one, isBusy: one.endpoint === B }));
    for (let index = 0; index < 100; index += 1) {
      const ranked = rank(candidates, await buildRun(index), facts);
      expect(ranked.slice(2)).toEqual([B, A]);
    }
  });

  it('that may bring a champion is drawn from those whose word was confirmed first; other repeats are not', async () => {
    const facts = {
      ...REPEAT,
      standings: new Map([
        [C, PROVEN],
        [D, PROVEN],
      ]),
    };
    const [a, b, c = 0, d] = await countFirsts(facts, 'confirmation');
    expect([a, b]).toEqual([0, 0]);
    expect(Math.abs(c - SAMPLE / 2)).toBeLessThan(115);
    expect(c + (d ?? 0)).toBe(SAMPLE);
    for (const count of await countFirsts(facts, 'audit')) expect(Math.abs(count - SAMPLE / 4)).toBeLessThan(100);
  });

  it('is said to be drawn by lot', async () => {
    const [first] = priceAll(PRICES, REPEAT);
    if (!first) throw new Error('no worker');
    expect(explain(first, 4, REPEAT)).toMatch(/^drawn by lot from 4 independent workers: 0\.01 USDC/);
    expect(explain(first, 4, NOTHING)).toMatch(/^least expected cost of 4 free workers: 0\.01 USDC/);
  });
});

describe('who runs something new', () => {
  it.each<Role>(['single', 'round', 'retest'])('as %s is always the one of least expected cost', async (role) => {
    await fc.assert(
      fc.asyncProperty(arbitraryIndex, arbitraryPrices, async (index, prices) => {
        const candidates = priceAll(prices, NOTHING);
        const costs = rank(candidates, await buildRun(index, role), NOTHING).map(
          (endpoint) => candidates.find((one) => one.endpoint === endpoint)?.expectedAtomic,
        );
        expect(costs).toEqual(costs.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
      }),
    );
    expect(await countFirsts(NOTHING, role)).toEqual([SAMPLE, 0, 0, 0]);
  });
});

describe('a worker whose word nobody confirmed', () => {
  const beside = (standing: Standing): ChoiceFacts => ({ ...NOTHING, standings: new Map([[B, standing]]) });

  it('has to ask less than half beside one whose word somebody did', async () => {
    const run = await buildRun(0, 'round');
    const facts = beside(PROVEN);
    expect(rank(priceAll([10_000, 19_999, 90_000, 90_000], facts), run, facts)[0]).toBe(B);
    expect(rank(priceAll([10_000, 20_001, 90_000, 90_000], facts), run, facts)[0]).toBe(A);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (price) => {
        const priceAtomic = atomicUsdc(price);
        expect(expectCost(A, priceAtomic, facts)).toBeCloseTo(2 * expectCost(A, priceAtomic, NOTHING));
        expect(expectCost(B, priceAtomic, facts)).toBe(expectCost(B, priceAtomic, NOTHING));
      }),
    );
  });

  it.each<[string, Standing]>([
    ['nobody is proven', NEW_STANDING],
    ['some are known to have been contradicted only', { ...NEW_STANDING, disagreements: 1 }],
    ['the one that was proven is in quarantine', { ...PROVEN, state: 'quarantined', untilMs: NOTHING.nowMs + 1 }],
    ['the one that was proven is on probation', { ...PROVEN, state: 'probation' }],
  ])('costs what it asks where %s', async (_name, standing) => {
    const run = await buildRun(0, 'round');
    const facts = beside(standing);
    expect(expectCost(A, atomicUsdc(CHEAP), facts)).toBe(expectCost(A, atomicUsdc(CHEAP), NOTHING));
    expect(rank(priceAll([10_000, 10_001, 90_000, 90_000], facts), run, facts)[0]).toBe(A);
  });

  it('is no less of a stranger for runs of ours that it has scored', () => {
    const records = new Map([[A, { runs: 20, scored: 20, lost: 0, lastSeenMs: NOTHING.nowMs }]]);
    const [alone, facts] = [
      { ...NOTHING, records },
      { ...beside(PROVEN), records },
    ];
    const priceAtomic = atomicUsdc(CHEAP);
    expect(expectCost(A, priceAtomic, facts)).toBeCloseTo(2 * expectCost(A, priceAtomic, alone));
  });
});
