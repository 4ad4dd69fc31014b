import type { Db, Trx } from '../store/database.ts';

/** How long a claim lasts without being renewed, in milliseconds (field.md section 2). */
export const CLAIM_TTL_MS = 900_000;
/** Renewing takes the write lock: it is done when a good part of the time is over. */
const RENEW_BELOW_MS = 600_000;

/** Who is at a variant. */
export interface Claim {
  /** Null while it waits in the queue of a loop. */
  readonly experimentId: string | null;
  readonly loopId: string | null;
  readonly agent: string | null;
}

/** The live claim of a variant. */
export async function findClaim(db: Db | Trx, effectiveHash: string, nowMs: number): Promise<Claim | undefined> {
  const row = await db
    .selectFrom('claims')
    .selectAll()
    .where('effective_hash', '=', effectiveHash)
    .where('until', '>=', nowMs)
    .executeTakeFirst();
  return row && { experimentId: row.experiment_id, loopId: row.loop_id, agent: row.agent };
}

/**
 * Claims a variant, whatever the name of its agent; a live claim of somebody else stays. The transaction of the caller
 * makes it atomic over all processes of the store.
 * @returns whose claim it is then
 */
export async function takeClaim(trx: Trx, effectiveHash: string, claim: Claim, nowMs: number): Promise<Claim> {
  const holder = await findClaim(trx, effectiveHash, nowMs);
  const isOwn = holder !== undefined && holder.experimentId === null && holder.loopId === claim.loopId;
  if (holder && !(isOwn && claim.experimentId !== null)) return holder;
  const values = {
    experiment_id: claim.experimentId,
    loop_id: claim.loopId,
    agent: claim.agent,
    until: nowMs + CLAIM_TTL_MS,
    created_at: nowMs,
  };
  await trx
    .insertInto('claims')
    .values({ effective_hash: effectiveHash, ...values })
    .onConflict((conflict) => conflict.column('effective_hash').doUpdateSet(values))
    .execute();
  return claim;
}

/** Prolongs the claims of everything that still runs or waits in the queue of an open loop. */
export async function renewClaims(db: Db, nowMs: number): Promise<void> {
  const due = await db
    .selectFrom('claims')
    .select('effective_hash')
    .where('until', '<', nowMs + RENEW_BELOW_MS)
    .executeTakeFirst();
  if (!due) return;
  await db.transaction().execute(async (trx) => {
    await trx
      .updateTable('claims')
      .set({ until: nowMs + CLAIM_TTL_MS })
      .where('until', '<', nowMs + RENEW_BELOW_MS)
      .where((eb) =>
        eb.or([
          eb(
            'experiment_id',
            'in',
            eb.selectFrom('experiments').select('experiment_id').where('finished_at', 'is', null),
          ),
          eb.and([
            eb('experiment_id', 'is', null),
            eb(
              'loop_id',
              'in',
              eb
                .selectFrom('loops')
                .select('loop_id')
                .where('state', 'in', ['running', 'needs_proposals'])
                .where('queue', '<>', '[]'),
            ),
          ]),
        ]),
      )
      .execute();
    // What nobody renews is over; its row would be asked about again and again.
    await trx.deleteFrom('claims').where('until', '<', nowMs).execute();
  });
}

/** Gives back the claim of an experiment that has ended: from now on its result speaks. */
export async function releaseClaim(trx: Trx, experimentId: string): Promise<void> {
  await trx.deleteFrom('claims').where('experiment_id', '=', experimentId).execute();
}

/** Gives back what waited in the queue of a loop that takes no more. */
export async function releaseQueued(trx: Trx, loopId: string): Promise<void> {
  await trx.deleteFrom('claims').where('loop_id', '=', loopId).where('experiment_id', 'is', null).execute();
}
