import { describe, expect, it, onTestFinished } from 'vitest';
import { createDataDir } from '../../test/store-seed.ts';
import { silentLog } from '../base/log.ts';
import { atomicUsdc } from '../base/money.ts';
import { createLoop, updateLoop } from '../campaign/loop.ts';
import { readConfig } from '../config.ts';
import { NO_CONSENT, type Role } from '../experiment/experiment.ts';
import { draftExperiment } from '../experiment/journal.ts';
import { type ExperimentState, isFinal, type Settlement } from '../experiment/states.ts';
import { createVariant } from '../experiment/variant.ts';
import { acquireRunnerLease } from '../store/runner-lease.ts';
import { followLoop } from './loop-view.ts';
import { openServices } from './services.ts';
import { RunnerStarter } from './spawn-runner.ts';

type Run = readonly [role: Role, state: ExperimentState, settlement: Settlement];

/** How a stopped loop is shown that has these runs beside a baseline and a round. */
async function showLoop(...more: readonly Run[]) {
  const services = await openServices(readConfig({ DATA_DIR: createDataDir() }), 'test', silentLog);
  onTestFinished(() => services.close());
  const { db, clock } = services;
  const nowMs = clock.nowMs();
  // This process is the runner, so that none is started for what is under way.
  await acquireRunnerLease(db, 'test', nowMs);
  const variant = createVariant({ source: 'print("val_bpb: 1.0")\n', base: null, edits: [], config: {} });
  const amounts = { budgetAtomic: atomicUsdc(1_000_000), maxPriceAtomic: atomicUsdc(250_000) };
  const settings = { rounds: 10, parallel: 1, prefer: null, agent: null, ...amounts };
  const { loopId } = await db.transaction().execute((trx) => createLoop(trx, variant, settings, nowMs));
  await updateLoop(db, loopId, nowMs, () => ({ state: 'stopped' }));
  const runs: readonly Run[] = [['baseline', 'published', 'settled'], ['round', 'published', 'settled'], ...more];
  for (const [index, [role, state, settlement]] of runs.entries()) {
    const asked = {
      subject: variant.variantHash,
      workerRequest: 'auto',
      quoteId: null,
      idempotencyKey: `run ${index}`,
    };
    const loop = { loopId, role, round: role === 'round' ? 1 : null };
    const draft = { variant, ...asked, consent: NO_CONSENT, hypothesis: null, agent: null, loop };
    const { experiment } = await draftExperiment(db, { ...draft, maxPriceAtomic: amounts.maxPriceAtomic }, nowMs);
    await db
      .updateTable('experiments')
      .set({ state, settlement, finished_at: isFinal(state) ? nowMs : null })
      .where('experiment_id', '=', experiment.experimentId)
      .execute();
  }
  return followLoop(services, new RunnerStarter([]), loopId, 0, {});
}

/** The baseline and the round are runs, too. */
const ofRuns = (count: number) => expect.stringContaining(`of ${count} runs gave a score`);

describe('extra_runs', () => {
  it('are neither the first run nor the rounds', async () => {
    expect(await showLoop()).toMatchObject({ extra_runs: 0, rounds_done: 1 });
    const again: Run = ['baseline', 'lost', 'settled'];
    expect(await showLoop(again)).toMatchObject({ extra_runs: 0, rounds_done: 1 });
  });

  it.each<Role>(['retest', 'confirmation', 'audit', 'canary'])('are those of role %s', async (role) => {
    expect(await showLoop([role, 'published', 'settled'])).toMatchObject({ extra_runs: 1, rounds_done: 1 });
  });

  it.each<[ExperimentState, Settlement]>([
    ['signed', 'none'],
    ['sent', 'pending'],
    ['accepted', 'pending'],
    ['returned', 'settled'],
    ['judged', 'settled'],
    ['published', 'settled'],
    ['published', 'unknown'],
    ['failed', 'settled'],
    // Its result is there, although the worker never used its payment.
    ['published', 'unpaid'],
    ['lost', 'settled'],
    ['lost', 'unknown'],
    // Another attempt is about to start while an earlier one may still be paid.
    ['claimed', 'unknown'],
  ])('count one that is %s, its settlement %s', async (state, settlement) => {
    expect(await showLoop(['audit', state, settlement])).toMatchObject({ extra_runs: 1, summary: ofRuns(3) });
  });

  it.each<[ExperimentState, Settlement]>([
    ['drafted', 'none'],
    ['claimed', 'none'],
    ['quoted', 'none'],
    ['reserved', 'none'],
    ['refused', 'none'],
    ['cancelled', 'none'],
    ['unpaid', 'unpaid'],
    ['lost', 'unpaid'],
    ['lost', 'none'],
  ])('do not count one that is %s, its settlement %s: nobody was paid for it', async (state, settlement) => {
    expect(await showLoop(['confirmation', state, settlement])).toMatchObject({ extra_runs: 0, summary: ofRuns(2) });
  });
});
