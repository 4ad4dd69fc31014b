import { CoordinatorError } from '../base/errors.ts';
import type { Db, Trx } from '../store/database.ts';

const KEY = 'frozen_since';

/** The operator has stopped all spending of this store. */
export class FrozenError extends CoordinatorError {
  override readonly name = 'FrozenError';
  readonly code = 'spending_frozen';
  readonly nextStep = 'Ask the operator; `autoresearch-coordinator wallet unfreeze` allows spending again.';
  /** @param since ISO 8601 */
  constructor(readonly since: string) {
    super(`All spending of this store is frozen since ${since}. Nothing was signed or sent.`);
  }
}

/** Since when spending is frozen, ISO 8601; null while it is allowed. */
export async function loadFreeze(db: Db | Trx): Promise<string | null> {
  const row = await db.selectFrom('settings').select('value').where('key', '=', KEY).executeTakeFirst();
  return row?.value ?? null;
}

/**
 * Stops a payment while spending is frozen. Asked before every reservation, signature and send.
 * @throws FrozenError
 */
export async function assertNotFrozen(db: Db | Trx): Promise<void> {
  const since = await loadFreeze(db);
  if (since !== null) throw new FrozenError(since);
}

/** Stops all spending of the store, for every process of it, until it is allowed again. */
export async function freeze(db: Db, now: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('settings')
      .values({ key: KEY, value: now })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  });
}

/** Allows spending again. */
export async function unfreeze(db: Db): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx.deleteFrom('settings').where('key', '=', KEY).execute();
  });
}
