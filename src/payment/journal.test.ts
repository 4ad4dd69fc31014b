import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildIntent, experimentIdOf, TARGET, TERMS } from '../../test/store-rows.ts';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { atomicUsdc } from '../base/money.ts';
import type { Db, Trx } from '../store/database.ts';
import { loadAttempt, loadAttempts } from './attempt.ts';
import { sumLedger } from './budget.ts';
import {
  type AuthorizationOutcome,
  loadHeader,
  writeClaimedTx,
  writeFreeAttempt,
  writeHeader,
  writeIntent,
  writeNotSent,
  writeOutcome,
  writeSent,
} from './journal.ts';

const NOW = 1_790_000_000_000;
const ID = experimentIdOf(0);
const CAPS = { perExperimentAtomic: atomicUsdc(1_000_000), rollingDayAtomic: atomicUsdc(1_000_000) };
const TX = `0x${'ab'.repeat(32)}`;
const header = (value: string) => ({ name: 'PAYMENT-SIGNATURE' as const, value });

const act = (db: Db, step: (trx: Trx) => Promise<void>) => db.transaction().execute(step);
const sign = (db: Db, value = 'signed-once') => act(db, (trx) => writeHeader(trx, ID, 1, header(value), NOW));
const send = (db: Db, nowMs = NOW) => act(db, (trx) => writeSent(trx, ID, 1, nowMs));
const end = (db: Db, outcome: AuthorizationOutcome) => act(db, (trx) => writeOutcome(trx, ID, 1, outcome, NOW));

async function stateOf(db: Db) {
  const attempt = await loadAttempt(db, ID, 1);
  return attempt && { state: attempt.state, sends: attempt.sends, firstSentAtMs: attempt.firstSentAtMs };
}

/** A store with one journaled intent. */
async function journal(): Promise<Db> {
  const db = await openStore();
  await seedExperiments(db, 2);
  await act(db, (trx) => writeIntent(trx, TARGET, buildIntent(ID, 1), TERMS, 7n, CAPS, NOW));
  return db;
}

describe('an intent', () => {
  it('is read back as it was written, and only then can be signed', async () => {
    const db = await journal();
    expect(await loadAttempt(db, ID, 1)).toEqual({
      experimentId: ID,
      attempt: 1,
      workerEndpoint: 'https://w.example',
      workerId: null,
      state: 'intent',
      valueAtomic: 50_000n,
      payment: { intent: buildIntent(ID, 1), terms: TERMS },
      sends: 0,
      firstSentAtMs: null,
      fromBlock: 7n,
      paymentTx: null,
      claimedTx: null,
    });
    expect(await loadHeader(db, ID, 1)).toBeUndefined();
    expect(await loadAttempt(db, ID, 2)).toBeUndefined();
  });

  it('leaves neither row nor reservation when its transaction does not commit', async () => {
    const db = await openStore();
    await seedExperiments(db, 1);
    const dying = act(db, async (trx) => {
      await writeIntent(trx, TARGET, buildIntent(ID, 1), TERMS, null, CAPS, NOW);
      throw new Error('power cut');
    });
    await expect(dying).rejects.toThrow('power cut');
    expect(await loadAttempts(db, ID)).toEqual([]);
    expect((await sumLedger(db, NOW)).heldAtomic).toBe(0n);
  });

  it('is the only one of its attempt and of its nonce', async () => {
    const db = await journal();
    const again = buildIntent(ID, 1);
    const other = { ...buildIntent(experimentIdOf(1), 1), nonce: again.nonce };
    for (const intent of [again, other]) {
      await expect(act(db, (trx) => writeIntent(trx, TARGET, intent, TERMS, null, CAPS, NOW))).rejects.toThrow(
        /UNIQUE/,
      );
    }
    expect((await sumLedger(db, NOW)).heldAtomic).toBe(50_000n);
  });
});

describe('a header', () => {
  it('is written once: every send carries the same bytes', async () => {
    const db = await journal();
    await sign(db, 'first');
    await sign(db, 'second');
    expect(await loadHeader(db, ID, 1)).toEqual(header('first'));
    await send(db);
    await sign(db, 'third');
    expect(await loadHeader(db, ID, 1)).toEqual(header('first'));
    expect(await stateOf(db)).toMatchObject({ state: 'sent', sends: 1 });
  });

  it('is handed out by loadHeader alone', async () => {
    const db = await journal();
    await sign(db, 'bearer-instrument');
    const shown = JSON.stringify([await loadAttempt(db, ID, 1), await loadAttempts(db, ID)], (_key, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    );
    expect(shown).not.toContain('bearer-instrument');
  });

  it('cannot be sent before it is signed, nor after its reservation is released', async () => {
    const db = await journal();
    await expect(send(db)).rejects.toThrow(TypeError);
    await sign(db);
    await end(db, { kind: 'unpaid', reason: 'never_sent' });
    await expect(send(db)).rejects.toThrow(TypeError);
    expect(await stateOf(db)).toEqual({ state: 'unpaid', sends: 0, firstSentAtMs: null });
  });
});

describe('a send', () => {
  it('that provably reached nobody leaves the authorization unsent', async () => {
    const db = await journal();
    await sign(db);
    await send(db);
    await act(db, (trx) => writeNotSent(trx, ID, 1, NOW));
    expect(await stateOf(db)).toEqual({ state: 'signed', sends: 0, firstSentAtMs: null });
  });

  it('that reached nobody changes nothing about one before it that may have', async () => {
    const db = await journal();
    await sign(db);
    await send(db, NOW);
    await send(db, NOW + 5_000);
    await act(db, (trx) => writeNotSent(trx, ID, 1, NOW));
    expect(await stateOf(db)).toEqual({ state: 'sent', sends: 1, firstSentAtMs: NOW });
  });
});

describe('an outcome', () => {
  it('ends the authorization and its reservation together', async () => {
    const db = await journal();
    await sign(db);
    await send(db);
    await end(db, { kind: 'settled', tx: TX });
    expect(await loadAttempt(db, ID, 1)).toMatchObject({ state: 'settled', paymentTx: TX });
    expect(await sumLedger(db, NOW)).toMatchObject({ spentAtomic: 50_000n, heldAtomic: 0n });
  });

  it('that is settled is never changed again', async () => {
    const db = await journal();
    await sign(db);
    await send(db);
    await end(db, { kind: 'settled', tx: TX });
    for (const outcome of [
      { kind: 'unpaid', reason: 'expired' },
      { kind: 'claimed', tx: null },
      { kind: 'settled', tx: `0x${'00'.repeat(32)}` },
    ] as const) {
      await end(db, outcome);
    }
    await act(db, (trx) => writeNotSent(trx, ID, 1, NOW));
    expect(await loadAttempt(db, ID, 1)).toMatchObject({ state: 'settled', paymentTx: TX });
    expect(await sumLedger(db, NOW)).toMatchObject({ spentAtomic: 50_000n, heldAtomic: 0n });
  });

  it('that is only claimed counts as spent and may become settled', async () => {
    const db = await journal();
    await sign(db);
    await send(db);
    await act(db, (trx) => writeClaimedTx(trx, ID, 1, TX));
    await end(db, { kind: 'claimed', tx: TX });
    expect(await sumLedger(db, NOW)).toMatchObject({ spentAtomic: 50_000n });
    await end(db, { kind: 'settled', tx: TX });
    expect(await loadAttempt(db, ID, 1)).toMatchObject({ state: 'settled', paymentTx: TX, claimedTx: TX });
  });

  it('that is only claimed and then proven unpaid gives its money back', async () => {
    const db = await journal();
    await sign(db);
    await send(db);
    await end(db, { kind: 'claimed', tx: TX });
    await end(db, { kind: 'unpaid', reason: 'expired' });
    expect(await loadAttempt(db, ID, 1)).toMatchObject({ state: 'unpaid' });
    expect(await sumLedger(db, NOW)).toMatchObject({ spentAtomic: 0n, heldAtomic: 0n });
    await end(db, { kind: 'settled', tx: TX });
    expect(await loadAttempt(db, ID, 1)).toMatchObject({ state: 'unpaid' });
  });

  it('of a free worker moves no money', async () => {
    const db = await openStore();
    await seedExperiments(db, 1);
    await act(db, (trx) => writeFreeAttempt(trx, ID, 1, TARGET, NOW));
    await send(db);
    expect(await loadAttempt(db, ID, 1)).toMatchObject({ state: 'free', payment: null, valueAtomic: 0n, sends: 1 });
    expect(await sumLedger(db, NOW)).toEqual({ spentAtomic: 0n, spentDayAtomic: 0n, heldAtomic: 0n });
  });
});

/** How far an authorization is; a later state is never left for an earlier one, but for a send that reached nobody. */
const RANK = { free: 0, intent: 1, signed: 2, sent: 3, claimed: 4, settled: 5, unpaid: 5 } as const;

it('only goes forward, and its books always agree with its state', { timeout: 60_000 }, async () => {
  const db = await openStore();
  await seedExperiments(db, 1);
  const steps = fc.constantFrom('sign', 'send', 'notSent', 'settled', 'claimed', 'unpaid');
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 8 }), async (path) => {
      await act(db, async (trx) => {
        await trx.deleteFrom('ledger').execute();
        await trx.deleteFrom('attempts').execute();
        await writeIntent(trx, TARGET, buildIntent(ID, 1), TERMS, null, CAPS, NOW);
      });
      let before = await loadAttempt(db, ID, 1);
      for (const [index, step] of path.entries()) {
        if (step === 'sign') await sign(db, `header-${index}`);
        else if (step === 'send') await send(db).catch(() => undefined);
        else if (step === 'notSent') {
          // The step of an experiment notes this after a send of its own.
          if (before === undefined || before.sends === 0) continue;
          await act(db, (trx) => writeNotSent(trx, ID, 1, NOW));
        } else if (step === 'settled' || step === 'claimed') await end(db, { kind: step, tx: TX });
        else await end(db, { kind: 'unpaid', reason: 'expired' });
        const after = await loadAttempt(db, ID, 1);
        if (!before || !after) return expect.unreachable();
        const isTakenBack = step === 'notSent' && before.state === 'sent' && after.state === 'signed';
        if (!isTakenBack) expect(RANK[after.state]).toBeGreaterThanOrEqual(RANK[before.state]);
        if (RANK[before.state] === 5) expect(after.state).toBe(before.state);
        const { heldAtomic, spentAtomic } = await sumLedger(db, NOW);
        expect(heldAtomic + spentAtomic).toBeLessThanOrEqual(50_000n);
        if (['settled', 'claimed'].includes(after.state)) expect(spentAtomic).toBe(50_000n);
        if (after.state === 'unpaid') expect(heldAtomic + spentAtomic).toBe(0n);
        if (['intent', 'signed', 'sent'].includes(after.state)) expect(heldAtomic).toBe(50_000n);
        before = after;
      }
    }),
    { numRuns: 40 },
  );
});
