// One of several processes that work on one store at the same time, for tests of the store and the budget.
import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import { atomicUsdc } from '../src/base/money.ts';
import { OverBudgetError } from '../src/payment/budget.ts';
import { writeIntent } from '../src/payment/journal.ts';
import { type Db, loadMasterSecret, openDatabase } from '../src/store/database.ts';
import { buildIntent, experimentIdOf, TARGET, TERMS } from './store-rows.ts';

const [mode, dataDir, first, count, cap] = z
  .tuple([z.enum(['migrate', 'count', 'reserve', 'pid']), z.string()])
  .rest(z.coerce.number())
  .parse(process.argv.slice(2));

/** Adds one to a number that all processes share, so many times, beside plain writes and reads. */
async function addUp(db: Db, times: number): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    await db.transaction().execute(async (trx) => {
      const row = await trx.selectFrom('settings').select('value').where('key', '=', 'counter').executeTakeFirst();
      const value = String(Number(row?.value ?? 0) + 1);
      await trx
        .insertInto('settings')
        .values({ key: 'counter', value })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
        .execute();
      await trx
        .insertInto('cache')
        .values({ key: `${process.pid}-${time}`, value, stored_at: time })
        .execute();
    });
    await db.selectFrom('cache').selectAll().where('key', '=', `${process.pid}-${time}`).executeTakeFirstOrThrow();
  }
}

/** Reserves the price of so many attempts; how many fitted under the cap. */
async function reserveAll(db: Db, from: number, times: number, capAtomic: number): Promise<number> {
  const caps = { perExperimentAtomic: atomicUsdc(250_000), rollingDayAtomic: atomicUsdc(capAtomic) };
  let reserved = 0;
  for (let index = from; index < from + times; index += 1) {
    const intent = buildIntent(experimentIdOf(index), 1);
    const writing = db
      .transaction()
      .execute((trx) => writeIntent(trx, TARGET, intent, TERMS, null, caps, 1_790_000_000_000));
    await writing.then(
      () => {
        reserved += 1;
      },
      (error: unknown) => {
        if (!(error instanceof OverBudgetError)) throw error;
      },
    );
  }
  return reserved;
}

async function work(db: Db): Promise<string> {
  switch (mode) {
    case 'migrate':
      return loadMasterSecret(db, () => randomBytes(32).toString('hex'));
    case 'count':
      await addUp(db, count ?? 0);
      return 'done';
    case 'reserve':
      return String(await reserveAll(db, first ?? 0, count ?? 0, cap ?? 0));
    case 'pid':
      return String(process.pid);
  }
}

const db = await openDatabase(dataDir);
try {
  process.stdout.write(`${await work(db)}\n`);
} finally {
  await db.destroy();
}
