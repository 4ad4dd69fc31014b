import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import * as z from 'zod';
import { readJson } from '../base/json.ts';
import type { Db, Trx } from './database.ts';

/** The one process of a data folder that executes its work. */
const RunnerLease = z.object({ owner: z.string(), pid: z.int(), host: z.string(), until: z.int() });
export type RunnerLease = z.infer<typeof RunnerLease>;

/** How long the lease lasts without being renewed, in milliseconds. */
export const RUNNER_TTL_MS = 10_000;
const KEY = 'runner';

/** Loads the lease, also one that has run out. */
export async function loadRunnerLease(db: Db | Trx): Promise<RunnerLease | undefined> {
  const row = await db.selectFrom('settings').select('value').where('key', '=', KEY).executeTakeFirst();
  return row && readJson(RunnerLease, row.value);
}

/** Whether the lease's process is still there, as far as this machine can tell. */
export function isRunnerAlive(lease: RunnerLease, nowMs: number): boolean {
  if (lease.until < nowMs) return false;
  if (lease.host !== hostname()) return true;
  try {
    process.kill(lease.pid, 0);
    return !isZombie(lease.pid);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** A killed process keeps its number until its parent asks for it, which in a container may be never. */
function isZombie(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // Only Linux shows it this way.
    return false;
  }
}

/** Takes or renews the lease. @returns false while another living process has it */
export async function acquireRunnerLease(db: Db, owner: string, nowMs: number): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const current = await loadRunnerLease(trx);
    if (current && current.owner !== owner && isRunnerAlive(current, nowMs)) return false;
    const lease: RunnerLease = { owner, pid: process.pid, host: hostname(), until: nowMs + RUNNER_TTL_MS };
    const value = JSON.stringify(lease);
    await trx
      .insertInto('settings')
      .values({ key: KEY, value })
      .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
      .execute();
    return true;
  });
}

/** Gives the lease back, if it is still ours. */
export async function releaseRunnerLease(db: Db, owner: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const current = await loadRunnerLease(trx);
    if (current?.owner === owner) await trx.deleteFrom('settings').where('key', '=', KEY).execute();
  });
}
