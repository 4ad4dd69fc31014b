import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { isIndependent } from './party.ts';
import { judgeStanding, loadStandings, type Mark, NEW_STANDING } from './standing.ts';
import { loadTitles, passTitle } from './titles.ts';

const HOUR_MS = 3_600_000;
const mark = (kind: Mark['kind'], atMs: number): Mark => ({ endpoint: 'https://a.example', atMs, kind });

describe('the standing of a worker', () => {
  it('is good before anything is known, and no dispute alone ends it', () => {
    expect(NEW_STANDING).toMatchObject({ state: 'ok', trust: 0.9 });
    expect(judgeStanding([mark('dispute', 1)], 2)).toMatchObject({ state: 'ok', disagreements: 0.5 });
  });

  it('falls with the first lie of a stranger; one with a long record is only lowered', () => {
    expect(judgeStanding([mark('disagreement', 5)], 6)).toMatchObject({ state: 'quarantined', untilMs: 5 + HOUR_MS });
    const long = Array.from({ length: 10 }, (_, index) => mark('agreement', index));
    const lowered = judgeStanding([...long, mark('disagreement', 20)], 21);
    expect(lowered).toMatchObject({ state: 'ok' });
    expect(lowered.trust).toBeLessThan(judgeStanding(long, 21).trust);
  });

  it('comes back by time and one run that somebody else confirms, and falls longer each time', () => {
    const first = [mark('disagreement', 0)];
    expect(judgeStanding(first, HOUR_MS + 1).state).toBe('probation');
    expect(judgeStanding([...first, mark('agreement', HOUR_MS + 2)], HOUR_MS + 3).state).toBe('ok');
    const second = [...first, mark('disagreement', 10 * HOUR_MS)];
    expect(judgeStanding(second, 11.5 * HOUR_MS)).toMatchObject({ state: 'quarantined', untilMs: 12 * HOUR_MS });
  });

  it('falls with three failures in a row, and rises with the next good run', () => {
    const failures = [1, 2, 3].map((atMs) => mark('failure', atMs));
    expect(judgeStanding(failures.slice(1), 4).state).toBe('ok');
    expect(judgeStanding(failures, 4)).toMatchObject({ state: 'quarantined', failuresInARow: 3, untilMs: 3 + HOUR_MS });
    expect(judgeStanding(failures, HOUR_MS + 4).state).toBe('probation');
    expect(judgeStanding([...failures, mark('good', HOUR_MS + 5)], HOUR_MS + 6).state).toBe('ok');
  });

  it('never improves by a lie, never worsens by an agreement, and depends on no order', () => {
    const kind = fc.constantFrom<Mark['kind']>('agreement', 'disagreement', 'dispute', 'failure', 'good');
    const marks = fc.array(fc.record({ kind, atMs: fc.integer({ min: 0, max: 100 * HOUR_MS }) }), { maxLength: 30 });
    fc.assert(
      fc.property(marks, fc.integer({ min: 0, max: 200 * HOUR_MS }), (list, nowMs) => {
        const own = list.map((one, index) => mark(one.kind, one.atMs * 100 + index));
        const before = judgeStanding(own, nowMs);
        expect(judgeStanding(own.toReversed(), nowMs)).toEqual(before);
        expect(before.trust).toBeGreaterThan(0);
        expect(before.trust).toBeLessThan(1);
        expect(before.untilMs === null).toBe(before.state !== 'quarantined');
        expect(judgeStanding([...own, mark('disagreement', nowMs)], nowMs).trust).toBeLessThan(before.trust);
        expect(judgeStanding([...own, mark('agreement', nowMs)], nowMs).trust).toBeGreaterThan(before.trust);
      }),
    );
  });
});

it('takes two workers for two parties only where host, payout address and owner differ as far as they are known', () => {
  const worker = { endpoint: 'https://a.example/w', payTo: '0xAA', owner: '0x01' };
  const other = { endpoint: 'https://b.example/w', payTo: '0xbb', owner: '0x02' };
  expect(isIndependent(worker, other)).toBe(true);
  expect(isIndependent(worker, { ...other, endpoint: 'https://a.example:8443/other' })).toBe(false);
  expect(isIndependent(worker, { ...other, payTo: '0xaa' })).toBe(false);
  expect(isIndependent(worker, { ...other, owner: '0x01' })).toBe(false);
  expect(isIndependent(worker, { endpoint: other.endpoint, payTo: null })).toBe(true);
  // Behind one address of a machine or a gateway many may live.
  const local = { ...worker, endpoint: 'http://127.0.0.1:4001/w' };
  expect(isIndependent(local, { ...other, endpoint: 'http://127.0.0.1:4002/w' })).toBe(true);
});

it('passes a title on once, however many decide on the same state of it', async () => {
  const db = await openStore();
  await db.insertInto('sources').values({ train_hash: 'sha256:a', source: 'x', created_at: 0 }).execute();
  const blank = { config: '{}', consent: '{}', avoid: '{}', state: 'published', settlement: 'none' };
  const numbers = { max_price: 1, attempt: 0, lease_until: 0, epoch: 0, created_at: 0, updated_at: 0 };
  const texts = { train_hash: 'sha256:a', variant_hash: 'v', root_hash: 'r', description: 'd', worker_request: 'auto' };
  for (const id of ['one', 'two']) {
    const own = { experiment_id: id, idempotency_key: id, role: 'round' };
    await db
      .insertInto('experiments')
      .values({ ...blank, ...numbers, ...texts, ...own })
      .execute();
  }
  const pass = (experimentId: string) =>
    db.transaction().execute((trx) => {
      const change = { experimentId, variantHash: 'v', verified: true, cause: 'confirmed' } as const;
      return passTitle(trx, { scope: 'loop', rootHash: 'r' }, 0, change, 1);
    });
  const won = await Promise.all([pass('one'), pass('two')]);
  expect(won.filter(Boolean)).toHaveLength(1);
  const titles = await loadTitles(db, { scope: 'loop' });
  expect(titles).toMatchObject([{ seq: 1, experimentId: won[0] ? 'one' : 'two', verified: true }]);
});

it('is that of all runs so far, also of those that end in the same millisecond', async () => {
  const db = await openStore();
  const endpoint = 'https://a.example/run';
  const states: unknown[] = [];
  for (const id of await seedExperiments(db, 3)) {
    const ended = { worker_endpoint: endpoint, state: 'unpaid', updated_at: 5, finished_at: 5 };
    await db.updateTable('experiments').set(ended).where('experiment_id', '=', id).execute();
    states.push((await loadStandings(db, 6)).get(endpoint)?.state);
  }
  expect(states).toEqual(['ok', 'ok', 'quarantined']);
});
