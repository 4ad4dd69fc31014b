import { findChain } from '../base/chains.ts';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import type { Db } from '../store/database.ts';

/** One payment, reserved, made or released. */
export interface Payment {
  readonly time: string;
  readonly experiment_id: string;
  readonly attempt: number;
  readonly amount_usdc: string;
  /** `held`, `spent` or `released`. */
  readonly state: string;
  readonly chain: string;
  readonly pay_to: string;
  readonly worker_endpoint: string;
  readonly payment_tx: string;
}

/** Every payment of the store, oldest first. */
export async function loadHistory(db: Db): Promise<Payment[]> {
  const rows = await db
    .selectFrom('ledger')
    .innerJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'ledger.experiment_id')
        .onRef('attempts.attempt', '=', 'ledger.attempt'),
    )
    .select(['ledger.experiment_id', 'ledger.attempt', 'ledger.amount', 'ledger.state', 'ledger.created_at'])
    .select(['attempts.chain_id', 'attempts.pay_to', 'attempts.worker_endpoint', 'attempts.payment_tx'])
    .orderBy('ledger.entry')
    .execute();
  return rows.map((row) => ({
    time: isoTime(row.created_at),
    experiment_id: row.experiment_id,
    attempt: row.attempt,
    amount_usdc: formatUsd(BigInt(row.amount)),
    state: row.state,
    chain: findChain(row.chain_id)?.name ?? String(row.chain_id),
    pay_to: row.pay_to ?? '',
    worker_endpoint: row.worker_endpoint,
    payment_tx: row.payment_tx ?? '',
  }));
}
