import type { Clock } from '../base/time.ts';
import { type Attempt, type AttemptState, loadAttempt } from '../payment/attempt.ts';
import type { PaymentDesk } from '../payment/desk.ts';
import { type AuthorizationOutcome, writeOutcome } from '../payment/journal.ts';
import type { Db } from '../store/database.ts';
import type { Settlement } from './states.ts';

/** What the chain has to say about authorizations that no experiment is busy with. */
interface SweepPorts {
  readonly db: Db;
  readonly desk: PaymentDesk;
  readonly clock: Clock;
}

/**
 * Reconciles every open authorization that its experiment has moved on from: overlaps, and those of experiments that
 * ended before the chain could be read. Their reservations are kept until proof.
 * @returns how many are still open
 */
export async function sweepAuthorizations(ports: SweepPorts): Promise<number> {
  const rows = await ports.db
    .selectFrom('attempts')
    .innerJoin('experiments', 'experiments.experiment_id', 'attempts.experiment_id')
    .select(['attempts.experiment_id', 'attempts.attempt'])
    .where('attempts.state', 'in', ['intent', 'signed', 'sent', 'claimed'])
    .where((eb) =>
      eb.or([
        eb('experiments.finished_at', 'is not', null),
        eb('experiments.attempt', '>', eb.ref('attempts.attempt')),
        eb('experiments.state', '=', 'claimed'),
      ]),
    )
    .execute();
  let openCount = 0;
  for (const row of rows) {
    const attempt = await loadAttempt(ports.db, row.experiment_id, row.attempt);
    const outcome = attempt && (await findOutcome(ports.desk, attempt));
    if (attempt && outcome) await closeAttempt(ports, attempt, outcome);
    else if (attempt && isDecidedSoon(attempt, ports.clock.nowMs())) openCount += 1;
  }
  return openCount;
}

/** How long after its window an authorization is worth a process that waits for the chain, in milliseconds. */
const WORTH_WAITING_MS = 3_600_000;

/** Whether the chain can be expected to speak before long; without one the next process that runs asks again. */
function isDecidedSoon({ state, payment }: Attempt, nowMs: number): boolean {
  return state !== 'claimed' && payment !== null && nowMs < payment.intent.validBefore * 1000 + WORTH_WAITING_MS;
}

/** Whether any authorization holds money; on demand only one that is worth a process which waits. */
export async function hasHeldAuthorization(db: Db, nowMs: number, only?: 'decided soon'): Promise<boolean> {
  const earliestEnd = only === undefined ? 0 : Math.floor((nowMs - WORTH_WAITING_MS) / 1000);
  const row = await db
    .selectFrom('attempts')
    .select('attempt')
    .where('state', 'in', ['intent', 'signed', 'sent'] satisfies AttemptState[])
    .where('valid_before', '>', earliestEnd)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

async function findOutcome(desk: PaymentDesk, attempt: Attempt): Promise<AuthorizationOutcome | null> {
  if (attempt.sends === 0) return { kind: 'unpaid', reason: 'never_sent' };
  const chain = await desk.fetchState(attempt);
  switch (chain.kind) {
    case 'settled':
      return { kind: 'settled', tx: chain.tx };
    case 'expired':
    case 'cancelled':
      return { kind: 'unpaid', reason: chain.kind };
    case 'live':
    case 'used':
    case 'unverifiable':
      return null;
  }
}

async function closeAttempt({ db, clock }: SweepPorts, attempt: Attempt, outcome: AuthorizationOutcome): Promise<void> {
  const nowMs = clock.nowMs();
  await db.transaction().execute(async (trx) => {
    await writeOutcome(trx, attempt.experimentId, attempt.attempt, outcome, nowMs);
    const settlement: Settlement = outcome.kind === 'settled' ? 'settled' : 'unpaid';
    await trx
      .updateTable('experiments')
      .set({ settlement, updated_at: nowMs })
      .where('experiment_id', '=', attempt.experimentId)
      .where('attempt', '=', attempt.attempt)
      .where('settlement', 'in', ['pending', 'unknown'] satisfies Settlement[])
      .execute();
  });
}
