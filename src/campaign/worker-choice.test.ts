import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { draftOne } from '../../test/drafted-run.ts';
import { atomicUsdc } from '../base/money.ts';
import { draftFromOperator, type Worker } from '../discovery/worker.ts';
import type { Experiment } from '../experiment/experiment.ts';
import type { ChoiceFacts } from './choice-facts.ts';
import type { Party } from './party.ts';
import type { Price } from './prices.ts';
import { NEW_STANDING, type Standing } from './standing.ts';
import { chooseWorker } from './worker-choice.ts';

const NOW = 1_790_000_000_000;
const MAX_PRICE = 100_000;

/** One experiment that wants any worker; the first test drafts it for all. */
let drafted: Promise<Experiment> | undefined;

/** A worker as a test describes it; what is left out is as with a new, sound one. */
interface Scene {
  readonly endpoint: string;
  readonly price?: number | 'free' | 'unusable';
  readonly payTo?: string;
  readonly owner?: `0x${string}` | null;
  readonly identity?: Worker['identity'];
  readonly active?: boolean | null;
  readonly health?: Worker['health']['status'];
  readonly isHidden?: boolean;
  readonly isTaken?: boolean;
  readonly standing?: Standing['state'];
  readonly trust?: number;
  readonly scoredOf?: readonly [scored: number, runs: number];
  /** Paid runs whose result never came. */
  readonly lost?: number;
  readonly seconds?: number;
  readonly tier?: string;
  readonly avoidMs?: number;
}

function toWorker({ endpoint, owner, identity, active, health, isHidden }: Scene): Worker {
  const worker = draftFromOperator(endpoint, NOW);
  return {
    ...worker,
    owner: owner ?? null,
    identity: identity ?? 'verified',
    active: active ?? null,
    health: { ...worker.health, status: health ?? 'ok' },
    ...(isHidden ? { hiddenReason: 'blocked_by_operator' } : {}),
  };
}

function toPrice({ price = 10_000, endpoint, payTo }: Scene): Price {
  if (price === 'free') return { kind: 'free' };
  if (price === 'unusable') return { kind: 'unusable', code: 'no_offer', hasAnswered: true };
  return { kind: 'priced', priceAtomic: atomicUsdc(price), chainName: 'base', payTo: payTo ?? `to ${endpoint}` };
}

/** Entries of those workers of which something is known. */
function entriesOf<T>(scenes: readonly Scene[], read: (scene: Scene) => T | undefined): Map<string, T> {
  return new Map(
    scenes.flatMap((scene) => {
      const value = read(scene);
      return value === undefined ? [] : [[scene.endpoint, value]];
    }),
  );
}

async function choose(scenes: readonly Scene[], more: Partial<ChoiceFacts> = {}) {
  drafted ??= draftOne(MAX_PRICE, NOW);
  const experiment = await drafted;
  const avoid = Object.fromEntries(entriesOf(scenes, ({ avoidMs }) => avoidMs && NOW + avoidMs));
  return chooseWorker(
    { ...experiment, avoid },
    {
      nowMs: NOW,
      workers: scenes.map(toWorker),
      taken: new Set(scenes.filter(({ isTaken }) => isTaken).map(({ endpoint }) => endpoint)),
      records: entriesOf(
        scenes,
        ({ scoredOf, lost = 0 }) => scoredOf && { scored: scoredOf[0], runs: scoredOf[1], lost, lastSeenMs: NOW },
      ),
      standings: entriesOf(scenes, ({ standing, trust }): Standing | undefined =>
        standing === undefined && trust === undefined
          ? undefined
          : { ...NEW_STANDING, state: standing ?? 'ok', trust: trust ?? 0.9, untilMs: NOW + 1_000 },
      ),
      durations: entriesOf(scenes, ({ seconds }) => seconds),
      tiers: entriesOf(scenes, ({ tier }) => tier),
      wantedTier: null,
      parties: [],
      preferred: null,
      fetchPrices: async (endpoints) => {
        const asked = scenes.filter(({ endpoint }) => endpoints.includes(endpoint));
        return new Map(asked.map((scene) => [scene.endpoint, toPrice(scene)]));
      },
      ...more,
    },
  );
}

const [A, B, C] = ['https://a.example', 'https://b.example', 'https://c.example'];
const OWNER = '0x00000000000000000000000000000000000000aa';

describe('the worker that is chosen', () => {
  const cases: readonly (readonly [string, readonly Scene[], Partial<ChoiceFacts>, string])[] = [
    ['is the cheapest of equals', [{ endpoint: A, price: 20_000 }, { endpoint: B }], {}, B],
    ['takes runs as jobs, among equals', [{ endpoint: A }, { endpoint: B }], { jobTakers: new Set([B]) }, B],
    ['is the same one each time among equals', [{ endpoint: B }, { endpoint: A }], {}, A],
    [
      'is a dearer one whose results come',
      [
        { endpoint: A, scoredOf: [4, 20], lost: 16 },
        { endpoint: B, price: 15_000, scoredOf: [20, 20] },
      ],
      {},
      B,
    ],
    [
      'is a dearer one whose word counts',
      [
        { endpoint: A, trust: 0.4 },
        { endpoint: B, price: 15_000, trust: 0.95 },
      ],
      {},
      B,
    ],
    [
      'is a dearer one that is much faster',
      [
        { endpoint: A, seconds: 3_000 },
        { endpoint: B, price: 15_000, seconds: 300 },
      ],
      {},
      B,
    ],
    [
      'is no faster one among short runs',
      [
        { endpoint: A, seconds: 4 },
        { endpoint: B, price: 15_000, seconds: 1 },
      ],
      {},
      A,
    ],
    ['is the preferred one', [{ endpoint: A }, { endpoint: B, price: 90_000 }], { preferred: B }, B],
    [
      "is one of the champion's tier, known or not",
      [
        { endpoint: A, tier: 'small' },
        { endpoint: B, price: 30_000, tier: 'large' },
      ],
      { wantedTier: 'large' },
      B,
    ],
    [
      'is one that says it is free',
      [
        { endpoint: A, health: 'busy' },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    ['is a busy one before none', [{ endpoint: A, health: 'busy' }], {}, A],
    [
      'is none that is taken',
      [
        { endpoint: A, isTaken: true },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    [
      'is none in quarantine',
      [
        { endpoint: A, standing: 'quarantined' },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    ['is on probation only where all are', [{ endpoint: A, standing: 'probation' }], {}, A],
    [
      'is not on probation otherwise',
      [
        { endpoint: A, standing: 'probation' },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    [
      'is none that nobody vouches for',
      [
        { endpoint: A, identity: 'unbound' },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    [
      'is none that is hidden',
      [
        { endpoint: A, isHidden: true },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    [
      'is none that is off',
      [
        { endpoint: A, active: false },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    [
      'is none that refused a moment ago',
      [
        { endpoint: A, avoidMs: 5_000 },
        { endpoint: B, price: 30_000 },
      ],
      {},
      B,
    ],
    [
      'is none without a price',
      [{ endpoint: A, price: 'free' }, { endpoint: B, price: 'unusable' }, { endpoint: C }],
      {},
      C,
    ],
    [
      'of a repeat is nobody who ran it',
      [{ endpoint: A }, { endpoint: B, price: 30_000 }],
      { parties: [{ endpoint: `${A}:8443/x`, payTo: null }] },
      B,
    ],
    [
      'of a repeat is nobody who is paid on the same account',
      [
        { endpoint: A, payTo: '0xABC' },
        { endpoint: B, price: 30_000 },
      ],
      { parties: [{ endpoint: C, payTo: '0xabc' }] },
      B,
    ],
    [
      'of a repeat is nobody of the same owner',
      [
        { endpoint: A, owner: OWNER },
        { endpoint: B, price: 30_000 },
      ],
      { parties: [{ endpoint: C, payTo: null, owner: OWNER.toUpperCase().replace('X', 'x') }] },
      B,
    ],
  ];
  it.each(cases)('%s', async (_name, scenes, more, endpoint) => {
    expect(await choose(scenes, more)).toMatchObject({ kind: 'worker', endpoint });
  });

  it('comes with a line that says why', async () => {
    const one = await choose([
      { endpoint: A, seconds: 12, scoredOf: [3, 4] },
      { endpoint: B, price: 30_000 },
    ]);
    expect(one).toMatchObject({
      choice: 'least expected cost of 2 free workers: 0.01 USDC, 3 of 4 own runs scored, 12 s a run',
    });
    expect(await choose([{ endpoint: A }], { preferred: A })).toMatchObject({ choice: 'preferred worker, 0.01 USDC' });
    const repeat = await choose([{ endpoint: A }], { parties: [{ endpoint: B, payTo: null }] });
    expect(repeat).toMatchObject({ choice: expect.stringMatching(/^the only independent worker: /) });
  });
});

describe('no worker', () => {
  const cases: readonly (readonly [string, readonly Scene[], Partial<ChoiceFacts>, string])[] = [
    ['there is none', [], {}, 'no_worker'],
    ['all are unbound', [{ endpoint: A, identity: 'unbound' }], {}, 'no_worker'],
    ['all are in quarantine', [{ endpoint: A, standing: 'quarantined' }], {}, 'all_quarantined'],
    ['all are too dear', [{ endpoint: A, price: MAX_PRICE + 1 }], {}, 'over_price_cap'],
    ['none has a price', [{ endpoint: A, price: 'unusable' }], {}, 'no_payable_worker'],
    ['all ran it', [{ endpoint: A }], { parties: [{ endpoint: A, payTo: null }] }, 'no_independent_worker'],
    [
      'all others are paid on the same account',
      [{ endpoint: A, payTo: '0x1' }],
      { parties: [{ endpoint: B, payTo: '0x1' }] },
      'no_independent_worker',
    ],
    ['all refused for long', [{ endpoint: A, avoidMs: 3_600_000 }], {}, 'no_worker'],
  ];
  it.each(cases)('is chosen when %s, and the reason says so', async (_name, scenes, more, code) => {
    const pick = await choose(scenes, more);
    expect(pick).toMatchObject({ kind: 'none', reason: { code, text: expect.stringContaining('Nothing was signed') } });
  });

  it.each<[string, readonly Scene[]]>([
    ['all are taken', [{ endpoint: A, isTaken: true }]],
    [
      'the one that could be paid is taken',
      [
        { endpoint: A, isTaken: true },
        { endpoint: B, price: MAX_PRICE + 1 },
      ],
    ],
    ['all refused a moment ago', [{ endpoint: A, avoidMs: 5_000 }]],
  ])('is chosen yet when %s', async (_name, scenes) => {
    expect(await choose(scenes)).toEqual({ kind: 'wait' });
  });
});

const owners = [null, OWNER, '0x00000000000000000000000000000000000000bb'] as const;
const arbitraryScene = fc.record({
  endpoint: fc.constantFrom(
    ...['a', 'b', 'c', 'd'].flatMap((host) => ['', ':8443'].map((port) => `https://${host}.example${port}/w`)),
  ),
  price: fc.oneof(
    { arbitrary: fc.constantFrom('free' as const, 'unusable' as const), weight: 1 },
    { arbitrary: fc.integer({ min: 1, max: 2 * MAX_PRICE }), weight: 4 },
  ),
  payTo: fc.constantFrom('0x1', '0x2', '0x3'),
  owner: fc.constantFrom(...owners),
  identity: fc.constantFrom<Worker['identity'][]>('verified', 'file_only', 'unbound', 'operator'),
  health: fc.constantFrom<Worker['health']['status'][]>('ok', 'busy', 'unknown', 'unreachable'),
  isHidden: fc.constantFrom(false, false, true),
  isTaken: fc.constantFrom(false, false, true),
  standing: fc.constantFrom<Standing['state'][]>('ok', 'ok', 'probation', 'quarantined'),
  avoidMs: fc.constantFrom(0, 0, 5_000, 3_600_000),
});
const arbitraryParty = fc.record({
  endpoint: fc.constantFrom('https://a.example/w', 'https://z.example/w'),
  payTo: fc.constantFrom(null, '0x1', '0x9'),
  owner: fc.constantFrom(...owners),
});

/** The rules once more, in their plainest form. */
function mayRun(scene: Scene, parties: readonly Party[]): boolean {
  const hostOf = (url: string) => new URL(url).hostname;
  return (
    scene.identity !== 'unbound' &&
    scene.health !== 'unreachable' &&
    !scene.isHidden &&
    scene.standing !== 'quarantined' &&
    parties.every(
      ({ endpoint, payTo, owner }) =>
        hostOf(endpoint) !== hostOf(scene.endpoint) &&
        payTo !== scene.payTo &&
        (owner === null || owner !== scene.owner),
    )
  );
}

it('is waited for when it is busy and would still end first, but not for ever', async () => {
  const scenes: readonly Scene[] = [
    { endpoint: A, seconds: 600 },
    { endpoint: B, seconds: 300, isTaken: true },
  ];
  const pace = (minutes: number, freeInMinutes: number) => ({
    runMs: minutes * 60_000,
    freeAtMs: NOW + freeInMinutes * 60_000,
    priceAtomic: atomicUsdc(10_000),
  });
  const outlook = (waiting: number) => ({
    waiting,
    paces: new Map([
      [A, pace(10, 0)],
      [B, pace(5, 2)],
    ]),
  });
  expect(await choose(scenes, { outlook: outlook(1) })).toEqual({ kind: 'wait' });
  expect(await choose(scenes, { outlook: outlook(2) })).toMatchObject({ kind: 'worker', endpoint: A });
  expect(await choose(scenes, { outlook: outlook(1), preferred: A })).toMatchObject({ kind: 'worker', endpoint: A });
  const elsewhere = {
    outlook: outlook(1),
    tiers: new Map([
      [A, 'small'],
      [B, 'large'],
    ]),
    wantedTier: 'small',
  };
  expect(await choose(scenes, elsewhere)).toMatchObject({ kind: 'worker', endpoint: A });
  const doubtful = scenes.map((scene) => (scene.endpoint === B ? { ...scene, trust: 0.2 } : scene));
  expect(await choose(doubtful, { outlook: outlook(1) })).toMatchObject({ kind: 'worker', endpoint: A });
  const parties = [{ endpoint: C, payTo: null }];
  expect(await choose(scenes, { outlook: outlook(1), parties })).toMatchObject({ kind: 'worker', endpoint: A });
  const later = { nowMs: NOW + 6 * 60_000 };
  expect(await choose(scenes, { outlook: outlook(1), ...later })).toMatchObject({ kind: 'worker', endpoint: A });
});

describe('a busy worker of the right tier', () => {
  const scenes: readonly Scene[] = [
    { endpoint: A, tier: 'small' },
    { endpoint: B, tier: 'large', isTaken: true },
  ];
  const compared = { wantedTier: 'large', isComparison: true };
  const here = { kind: 'worker', endpoint: A };

  it('is waited for by a run that is to be compared, for twelve minutes at most, and by no other', async () => {
    expect(await choose(scenes, compared)).toEqual({ kind: 'wait' });
    const longestMs = 12 * 60_000;
    expect(await choose(scenes, { ...compared, nowMs: NOW + longestMs })).toEqual({ kind: 'wait' });
    expect(await choose(scenes, { ...compared, nowMs: NOW + longestMs + 1 })).toMatchObject(here);
    expect(await choose(scenes, { ...compared, isComparison: false })).toMatchObject(here);
    expect(await choose(scenes, { wantedTier: 'large' })).toMatchObject(here);
  });

  it('may be one of which nobody knows the tier', async () => {
    const unknown = scenes.map((scene) => (scene.endpoint === B ? { endpoint: B, isTaken: true } : scene));
    expect(await choose(unknown, compared)).toEqual({ kind: 'wait' });
  });

  it.each<[string, readonly Scene[], Partial<ChoiceFacts>, string]>([
    ['another one of that tier is free', [...scenes, { endpoint: C, tier: 'large', price: 90_000 }], {}, C],
    ['one of unknown tier is free', [...scenes, { endpoint: C, price: 90_000 }], {}, C],
    ['all tiers will do', scenes, { wantedTier: null }, A],
    ['the busy one is of the wrong tier, too', scenes, { wantedTier: 'huge' }, A],
    ['the busy one is the party that ran it', scenes, { parties: [{ endpoint: B, payTo: null }] }, A],
    ['the busy one refused just now', scenes.map((one) => ({ ...one, avoidMs: one.isTaken ? 5_000 : 0 })), {}, A],
  ])('is not waited for where %s', async (_name, workers, more, endpoint) => {
    expect(await choose(workers, { ...compared, ...more })).toMatchObject({ kind: 'worker', endpoint });
  });
});

it('is never taken, quarantined, over the price or of the party that ran it, and is found where there is one', async () => {
  const scenes = fc.uniqueArray(arbitraryScene, { selector: ({ endpoint }) => endpoint, minLength: 2, maxLength: 6 });
  let chosen = 0;
  await fc.assert(
    fc.asyncProperty(scenes, fc.array(arbitraryParty, { maxLength: 2 }), async (workers, parties) => {
      const pick = await choose(workers, { parties });
      const able = (scene: Scene) =>
        mayRun(scene, parties) &&
        !scene.isTaken &&
        !scene.avoidMs &&
        typeof scene.price === 'number' &&
        scene.price <= MAX_PRICE;
      if (pick.kind === 'worker') {
        chosen += 1;
        expect(workers.filter(able).map(({ endpoint }) => endpoint)).toContain(pick.endpoint);
      } else {
        // One on probation has to stand back for those in good standing, also while they are taken.
        expect(workers.filter((scene) => able(scene) && scene.standing === 'ok')).toEqual([]);
      }
    }),
    { numRuns: 2_000 },
  );
  expect(chosen).toBeGreaterThan(100);
});
