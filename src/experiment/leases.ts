import type { Db } from '../store/database.ts';
import type { Lease } from './journal.ts';

/** How long a lease lasts without being renewed, in milliseconds. A dead process is noticed after that at the latest. */
export const LEASE_TTL_MS = 15_000;

/**
 * Takes every unfinished experiment whose lease has run out, oldest first.
 * @param except experiments that this owner is already driving: its own late renewal must not fence it
 */
export async function acquireLeases(
  db: Db,
  owner: string,
  nowMs: number,
  limit: number,
  except: readonly string[] = [],
): Promise<Lease[]> {
  // Asked several times a second: the write lock is taken only when there is something to take up.
  const waiting = await db
    .selectFrom('experiments')
    .select('experiment_id')
    .where('finished_at', 'is', null)
    .where('lease_until', '<', nowMs)
    .executeTakeFirst();
  if (!waiting) return [];
  return db.transaction().execute(async (trx) => {
    const rows = await trx
      .selectFrom('experiments')
      .select(['experiment_id', 'epoch'])
      .where('finished_at', 'is', null)
      .where('lease_until', '<', nowMs)
      .$if(except.length > 0, (query) => query.where('experiment_id', 'not in', except))
      .orderBy('created_at')
      .limit(limit)
      .execute();
    const leases: Lease[] = [];
    for (const { experiment_id: experimentId, epoch } of rows) {
      const lease = { experimentId, owner, epoch: epoch + 1 };
      await trx
        .updateTable('experiments')
        .set({ lease_owner: owner, lease_until: nowMs + LEASE_TTL_MS, epoch: lease.epoch })
        .where('experiment_id', '=', experimentId)
        .execute();
      leases.push(lease);
    }
    return leases;
  });
}

/** Prolongs all leases and worker slots of an owner. */
export async function renewLeases(db: Db, owner: string, nowMs: number): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const until = nowMs + LEASE_TTL_MS;
    await trx
      .updateTable('experiments')
      .set({ lease_until: until })
      .where('lease_owner', '=', owner)
      .where('finished_at', 'is', null)
      .where('lease_until', '>', 0)
      .execute();
    await trx
      .updateTable('slots')
      .set({ until })
      .where(
        'experiment_id',
        'in',
        // A slot that was taken for an experiment just cancelled is left to run out.
        trx
          .selectFrom('experiments')
          .select('experiment_id')
          .where('lease_owner', '=', owner)
          .where('finished_at', 'is', null),
      )
      .execute();
  });
}

/** Gives leases back at once, so that another process need not wait for them to run out. */
export async function releaseLeases(db: Db, owner: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx.updateTable('experiments').set({ lease_until: 0 }).where('lease_owner', '=', owner).execute();
  });
}

/** Frees the leases of an owner that is known to be dead. */
export async function expireOtherLeases(db: Db, owner: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx
      .updateTable('experiments')
      .set({ lease_until: 0 })
      .where('lease_owner', '!=', owner)
      .where('finished_at', 'is', null)
      .execute();
  });
}

/**
 * Reserves a worker for one experiment; at most one experiment of a store runs on a worker at a time.
 * @returns false while another experiment has it
 */
export async function acquireSlot(
  db: Db,
  workerEndpoint: string,
  experimentId: string,
  nowMs: number,
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const holder = await trx
      .selectFrom('slots')
      .selectAll()
      .where('worker_endpoint', '=', workerEndpoint)
      .executeTakeFirst();
    if (holder && holder.experiment_id !== experimentId && holder.until >= nowMs) return false;
    const until = nowMs + LEASE_TTL_MS;
    await trx
      .insertInto('slots')
      .values({ worker_endpoint: workerEndpoint, experiment_id: experimentId, until })
      .onConflict((conflict) => conflict.column('worker_endpoint').doUpdateSet({ experiment_id: experimentId, until }))
      .execute();
    return true;
  });
}

/** Gives back every worker that an experiment has. */
export async function releaseSlots(db: Db, experimentId: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx.deleteFrom('slots').where('experiment_id', '=', experimentId).execute();
  });
}

/** Endpoints that are taken at the moment. */
export async function loadTakenWorkers(db: Db, nowMs: number): Promise<Set<string>> {
  const rows = await db.selectFrom('slots').select('worker_endpoint').where('until', '>=', nowMs).execute();
  return new Set(rows.map((row) => row.worker_endpoint));
}
