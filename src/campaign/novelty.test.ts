import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openStore } from '../../test/store-seed.ts';
import { atomicUsdc } from '../base/money.ts';
import { CLAIM_TTL_MS, findClaim, renewClaims, takeClaim } from '../experiment/claims.ts';
import { type Experiment, NO_CONSENT } from '../experiment/experiment.ts';
import { advance, type Draft, draftExperiment } from '../experiment/journal.ts';
import { acquireLeases } from '../experiment/leases.ts';
import { createVariant, type Variant } from '../experiment/variant.ts';
import { effectiveHashOf } from '../experiment/variant-form.ts';
import type { Db } from '../store/database.ts';
import { describeOutcome, findDuplicate, findSimilar } from './novelty.ts';
import { buildProfile, compareProfiles } from './similarity.ts';

const NOW = 1_790_000_000_000;
const ROOT =
  'DEPTH = 8\nRATE = 0.5\nKIND = "a"\n\n\ndef act(x):\n    return max(x, 0)\n\n\nprint(f"val_bpb: {DEPTH}")\n';

function variantOf(...edits: (readonly [search: string, replace: string])[]): Variant {
  return createVariant({
    source: ROOT,
    base: edits.length > 0 ? ROOT : null,
    edits: edits.map(([search, replace]) => ({ search, replace })),
    config: {},
  });
}

function draftOf(variant: Variant, change: Partial<Draft> = {}): Draft {
  return {
    variant,
    subject: variant.variantHash,
    workerRequest: 'auto',
    quoteId: null,
    maxPriceAtomic: atomicUsdc(1),
    consent: NO_CONSENT,
    idempotencyKey: null,
    hypothesis: null,
    agent: null,
    loop: null,
    ...change,
  };
}

async function submit(db: Db, variant: Variant, change: Partial<Draft> = {}): Promise<Experiment> {
  return (await draftExperiment(db, draftOf(variant, change), NOW)).experiment;
}

/** Ends an experiment as a run with a score, or without one. */
async function end(db: Db, { experimentId }: Experiment, valBpb: number | null): Promise<void> {
  const [lease] = (await acquireLeases(db, 'a', NOW, 100)).filter((one) => one.experimentId === experimentId);
  if (!lease) return expect.unreachable('there was no lease to take');
  if (valBpb === null) {
    await advance(db, lease, 'refused', {}, NOW);
    return;
  }
  await db
    .updateTable('experiments')
    .set({ state: 'judged', val_bpb: valBpb, verdict: 'DISCARD' })
    .where('experiment_id', '=', experimentId)
    .execute();
  await advance(db, lease, 'published', {}, NOW);
}

describe('an equal variant', () => {
  it('is one experiment while it runs, for whoever asks and however it is spelled', async () => {
    const db = await openStore();
    const spellings = [ROOT, `# mine\n${ROOT}`, ROOT.replace('RATE = 0.5', 'RATE = .5  # half')];
    const made = await Promise.all(
      spellings.map((source, index) =>
        submit(db, createVariant({ source, base: null, edits: [], config: {} }), {
          agent: `agent ${index}`,
          workerRequest: `https://w${index}.example`,
        }),
      ),
    );
    expect(new Set(made.map(({ experimentId }) => experimentId)).size).toBe(1);
    expect(await db.selectFrom('experiments').selectAll().execute()).toHaveLength(1);
  });

  it('is answered by what it gave, and runs again when that is meant or nothing came of it', async () => {
    const db = await openStore();
    const variant = variantOf(['DEPTH = 8', 'DEPTH = 9']);
    const first = await submit(db, variant);
    expect((await findDuplicate(db, variant, NOW))?.experiment?.experimentId).toBe(first.experimentId);
    await end(db, first, null);
    expect(await findDuplicate(db, variant, NOW)).toBeNull();

    const second = await submit(db, variant);
    expect(second.experimentId).not.toBe(first.experimentId);
    await end(db, second, 1.5);
    const spelled = variantOf(['DEPTH = 8', 'DEPTH = 0x9 # nine']);
    const duplicate = await findDuplicate(db, spelled, NOW);
    expect(duplicate && describeOutcome(duplicate)).toBe(`gave val_bpb 1.5 (published) as ${second.experimentId}`);

    const third = await submit(db, variant, { isRepeat: true });
    expect(third.experimentId).not.toBe(second.experimentId);
    expect((await submit(db, variant, { isRepeat: true })).experimentId).toBe(third.experimentId);
  });

  it('that a worker made up a score for is open to others', async () => {
    const db = await openStore();
    const variant = variantOf(['DEPTH = 8', 'DEPTH = 9']);
    const made = await submit(db, variant);
    await end(db, made, 1.5);
    await db.updateTable('experiments').set({ verdict: 'SUSPECT' }).execute();
    expect(await findDuplicate(db, variant, NOW)).toBeNull();
  });

  it('waits in one queue only', async () => {
    const db = await openStore();
    const variant = variantOf(['DEPTH = 8', 'DEPTH = 9']);
    const key = effectiveHashOf(variant);
    const take = (loopId: string) =>
      db.transaction().execute((trx) => takeClaim(trx, key, { experimentId: null, loopId, agent: loopId }, NOW));
    const holders = await Promise.all(['loop-1', 'loop-2', 'loop-3'].map(take));
    expect(new Set(holders.map(({ loopId }) => loopId)).size).toBe(1);
    const duplicate = await findDuplicate(db, variant, NOW);
    expect(duplicate && describeOutcome(duplicate)).toBe(`waits in the queue of ${holders[0]?.loopId}`);
    // Its own loop drafts it.
    const loop = { loopId: holders[0]?.loopId ?? '', role: 'round', round: 1 } as const;
    const run = await submit(db, variant, { loop });
    expect(await findClaim(db, key, NOW)).toMatchObject({ experimentId: run.experimentId });
  });
});

describe('a claim', () => {
  it('lives as long as its experiment and is gone with it', async () => {
    const db = await openStore();
    const variant = variantOf();
    const key = effectiveHashOf(variant);
    const made = await submit(db, variant);
    const late = NOW + CLAIM_TTL_MS - 1_000;
    await renewClaims(db, late);
    expect(await findClaim(db, key, NOW + CLAIM_TTL_MS + 1)).toMatchObject({ experimentId: made.experimentId });
    await end(db, made, 1.5);
    expect(await findClaim(db, key, NOW)).toBeUndefined();
  });

  it('of a loop that nobody knows runs out', async () => {
    const db = await openStore();
    const key = effectiveHashOf(variantOf());
    await db
      .transaction()
      .execute((trx) => takeClaim(trx, key, { experimentId: null, loopId: 'loop-0', agent: null }, NOW));
    await renewClaims(db, NOW + CLAIM_TTL_MS - 1);
    expect(await findClaim(db, key, NOW + CLAIM_TTL_MS)).toBeDefined();
    expect(await findClaim(db, key, NOW + CLAIM_TTL_MS + 1)).toBeUndefined();
    await renewClaims(db, NOW + 2 * CLAIM_TTL_MS);
    expect(await db.selectFrom('claims').selectAll().execute()).toEqual([]);
  });
});

describe('findSimilar', () => {
  const BODY = 'max(x, 0)';
  const cases: readonly (readonly [what: string, edit: readonly [string, string], isNear: boolean])[] = [
    ['the same knob further in the same direction', ['DEPTH = 8', 'DEPTH = 10'], true],
    ['the same knob in the other direction', ['DEPTH = 8', 'DEPTH = 7'], false],
    ['another knob', ['RATE = 0.5', 'RATE = 0.6'], false],
    ['the same word', ['KIND = "a"', 'KIND = "b"'], true],
    ['another word', ['KIND = "a"', 'KIND = "c"'], false],
    ['nearly the same lines', [BODY, 'scale * tanh(x / scale) + 0.01 * max(x, 0) + offset'], true],
    ['other lines', [BODY, 'x'], false],
  ];

  it.each(cases)('with %s', async (_what, edit, isNear) => {
    const db = await openStore();
    const earlier = [
      variantOf(['DEPTH = 8', 'DEPTH = 9']),
      variantOf(['KIND = "a"', 'KIND = "b"'], ['RATE = 0.5', 'RATE = 0.4']),
      variantOf(['KIND = "a"', 'KIND  =  "b"']),
      variantOf([BODY, 'scale * tanh(x / scale) + 0.02 * max(x, 0) + offset']),
    ];
    const root = await submit(db, variantOf());
    for (const variant of earlier) await end(db, await submit(db, variant), 1.5);
    const similar = await findSimilar(db, variantOf(edit), root.rootHash);
    expect(similar).toHaveLength(isNear ? 1 : 0);
    for (const { experiment } of similar) expect(experiment.valBpb).toBe(1.5);
  });
});

describe('compareProfiles', () => {
  it('is symmetric, between 0 and 1, and 1 for the same text', () => {
    const text = fc.string({ minLength: 3, maxLength: 60 }).filter((one) => one.trim().length > 3);
    fc.assert(
      fc.property(text, text, (left, right) => {
        const [a, b] = [buildProfile(left), buildProfile(right)];
        const likeness = compareProfiles(a, b);
        expect(likeness >= 0 && likeness <= 1).toBe(true);
        expect(compareProfiles(b, a)).toBeCloseTo(likeness, 12);
        expect(compareProfiles(a, a)).toBeCloseTo(a.size === 0 ? 0 : 1, 12);
      }),
    );
    expect(compareProfiles(buildProfile('abcdef'), buildProfile('uvwxyz'))).toBe(0);
  });
});
