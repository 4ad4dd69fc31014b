import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { loadWorkerScores } from '../leaderboard/worker-scores.ts';
import type { Db } from '../store/database.ts';
import { loadOwnRecords, loadTrackRecords } from './own-record.ts';

const [USED, OTHER, NEVER] = ['https://used.example', 'https://other.example', 'https://never.example'];

interface Run {
  readonly endpoint?: string;
  readonly state: 'published' | 'failed' | 'lost' | 'sent';
  readonly verdict?: string;
  readonly valBpb?: number;
  readonly seconds?: number;
  readonly value?: number;
  readonly payment?: 'settled' | 'unpaid' | 'sent';
}

/** Writes runs down, the oldest first: run n is sent at n × 10,000 ms. */
async function seedRuns(db: Db, runs: readonly Run[]): Promise<void> {
  const ids = await seedExperiments(db, runs.length);
  for (const [index, run] of runs.entries()) {
    const experiment_id = ids[index] ?? '';
    const sentAtMs = index * 10_000;
    const worker_endpoint = run.endpoint ?? USED;
    await db
      .updateTable('experiments')
      .set({
        state: run.state,
        worker_endpoint,
        attempt: 1,
        updated_at: sentAtMs + 9_000,
        verdict: run.verdict ?? null,
        val_bpb: run.valBpb ?? null,
      })
      .where('experiment_id', '=', experiment_id)
      .execute();
    await db
      .insertInto('attempts')
      .values({
        experiment_id,
        attempt: 1,
        worker_endpoint,
        chain_id: 84532,
        value: run.value ?? 50_000,
        terms: '{}',
        state: run.payment ?? 'settled',
        sends: 1,
        first_sent_at: sentAtMs,
        created_at: sentAtMs,
        updated_at: sentAtMs,
      })
      .execute();
    // A worker that says "busy" at first has not answered yet.
    for (const [status, atMs] of [
      [409, 1],
      [200, (run.seconds ?? 5) * 1_000],
    ] as const)
      await db
        .insertInto('replies')
        .values({
          experiment_id,
          attempt: 1,
          status,
          headers: '{}',
          body: new Uint8Array(),
          received_at: sentAtMs + atMs,
        })
        .execute();
  }
}

const scored = (valBpb: number, seconds: number, more: Partial<Run> = {}): Run => ({
  state: 'published',
  verdict: 'DISCARD',
  valBpb,
  seconds,
  ...more,
});

describe('our own record of a worker', () => {
  it('counts what ended, and knows its usual duration, last price and last time', async () => {
    const db = await openStore();
    await seedRuns(db, [
      scored(1.5, 4),
      scored(1.25, 8, { value: 70_000 }),
      scored(1.75, 5),
      scored(0.01, 5, { verdict: 'SUSPECT' }),
      { state: 'failed', verdict: 'FAILED', seconds: 1, value: 60_000 },
      { state: 'lost', payment: 'unpaid', value: 90_000 },
      { state: 'sent', payment: 'sent', value: 99_000 },
      scored(1, 60, { endpoint: OTHER }),
    ]);
    const tracks = await loadTrackRecords(db, [USED, NEVER]);
    expect([...tracks]).toEqual([
      [USED, { runs: 6, scored: 3, lost: 1, lastSeenMs: 59_000, medianDurationSeconds: 5, lastPriceAtomic: 60_000n }],
    ]);
    expect([...(await loadOwnRecords(db)).keys()].sort()).toEqual([OTHER, USED]);
    expect((await loadOwnRecords(db, [])).size).toBe(0);
    expect([...(await loadWorkerScores(db, [USED, NEVER]))]).toEqual([
      [USED, { runs: 3, bestValBpb: 1.25, medianValBpb: 1.5 }],
    ]);
  });

  it('has no duration and no price where nothing was scored or paid, and the mean of two middle scores', async () => {
    const db = await openStore();
    await seedRuns(db, [
      { state: 'lost', payment: 'unpaid' },
      scored(1, 5, { endpoint: OTHER }),
      scored(2, 5, { endpoint: OTHER }),
    ]);
    const tracks = await loadTrackRecords(db, [USED]);
    expect(tracks.get(USED)).toMatchObject({ medianDurationSeconds: null, lastPriceAtomic: null });
    expect((await loadWorkerScores(db, [OTHER])).get(OTHER)?.medianValBpb).toBe(1.5);
  });

  it('reads no more of a large store than the runs of the workers that are asked for', async () => {
    const db = await openStore();
    const plans: string[] = [];
    const questions = [
      `select experiment_id, attempt from experiments where worker_endpoint = 'a' and verdict in ('KEEP') order by updated_at desc limit 21`,
      `select val_bpb from experiments where worker_endpoint = 'a' and val_bpb is not null and verdict in ('KEEP') order by val_bpb limit 1`,
      `select value from attempts where worker_endpoint = 'a' and state in ('settled') order by updated_at desc limit 1`,
    ];
    for (const text of questions) {
      const { rows } = await sql<{ detail: string }>`explain query plan ${sql.raw(text)}`.execute(db);
      plans.push(...rows.map(({ detail }) => detail));
    }
    expect(plans.filter((detail) => !/^SEARCH \w+ USING (COVERING )?INDEX \w+_by_worker/.test(detail))).toEqual([]);
  });
});
