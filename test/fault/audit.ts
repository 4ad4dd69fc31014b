import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAddressEqual, isHex } from 'viem';
import * as z from 'zod';
import { EXPERIMENT_STATES, isFinal } from '../../src/experiment/states.ts';
import type { Db } from '../../src/store/database.ts';
import type { Settlement } from './network.ts';

export interface FolderAudit {
  readonly experimentCount: number;
  readonly lostCount: number;
  /** Experiments that were paid more than once. */
  readonly doubleCount: number;
  readonly isOverBudget: boolean;
  /** Uses of authorizations that this folder's attempts account for. */
  readonly settlements: readonly Settlement[];
  /** Nonces of all attempts: nothing else may ever have been signed. */
  readonly nonces: readonly string[];
  /** What is wrong; empty when all is right. */
  readonly violations: readonly string[];
}

interface AuditInput {
  /** The store's folder. */
  readonly folder: string;
  /** All that the chain has since the folder was made, those of other folders included. */
  readonly settlements: readonly Settlement[];
  readonly budgetAtomic: bigint;
  readonly orders: readonly { readonly experimentId: string | undefined; readonly valBpb: string }[];
}

const RecordLine = z.looseObject({
  experiment_id: z.string(),
  val_bpb: z.number().nullable(),
  payment_tx: z.string().nullable(),
  nonce: z.string().nullable(),
});

/** Lines of the exported file, whole or not. */
export function readRecordLines(folder: string): string[] {
  const path = join(folder, 'results.jsonl');
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
}

/** Compares a folder's books with the chain and with what its client ordered, when nothing is going on any more. */
export async function auditFolder(db: Db, input: AuditInput): Promise<FolderAudit> {
  const [experiments, attempts, ledger, records] = await Promise.all([
    db.selectFrom('experiments').selectAll().execute(),
    db.selectFrom('attempts').selectAll().execute(),
    db.selectFrom('ledger').selectAll().execute(),
    db.selectFrom('records').selectAll().execute(),
  ]);
  const violations: string[] = [];
  const expect = (isRight: boolean, words: string) => {
    if (!isRight) violations.push(words);
  };
  const attemptOf = new Map(attempts.map((attempt) => [attempt.nonce, attempt]));
  const settlements = input.settlements.filter(({ nonce }) => attemptOf.has(nonce));
  const settled = new Map(settlements.map((settlement) => [settlement.nonce.toString(), settlement]));
  expect(settled.size === settlements.length, 'an authorization was used twice');

  const paid = new Map<string, number>();
  for (const { nonce, tx, to, value } of settlements) {
    const attempt = attemptOf.get(nonce);
    const id = attempt?.experiment_id ?? '';
    paid.set(id, (paid.get(id) ?? 0) + 1);
    const isQuoted = isHex(attempt?.pay_to) && isAddressEqual(attempt.pay_to, to) && BigInt(attempt.value) === value;
    expect(isQuoted, `${tx} paid ${value} to ${to}, not what ${id} was quoted`);
    expect(attempt?.state === 'settled', `${id} is settled on the chain, its attempt says ${attempt?.state}`);
    expect(attempt?.payment_tx === tx, `${id} names ${attempt?.payment_tx} as its payment, the chain ${tx}`);
  }
  // No scenario consents to an overlap.
  const double = [...paid].filter(([, count]) => count > 1);
  for (const [id, count] of double) violations.push(`${id} was paid ${count} times`);

  const movedAtomic = settlements.reduce((sum, { value }) => sum + value, 0n);
  const sum = (state: string) =>
    ledger.filter((row) => row.state === state).reduce((total, { amount }) => total + BigInt(amount), 0n);
  expect(sum('spent') === movedAtomic, `the ledger has ${sum('spent')} as spent, ${movedAtomic} moved`);
  expect(sum('held') === 0n, `${sum('held')} are still reserved`);
  const isOverBudget = movedAtomic > input.budgetAtomic;
  expect(!isOverBudget, `${movedAtomic} moved, the budget is ${input.budgetAtomic}`);
  for (const row of ledger) {
    const attempt = attempts.find((one) => one.experiment_id === row.experiment_id && one.attempt === row.attempt);
    const hasMoved = settled.has(attempt?.nonce ?? '');
    expect(hasMoved === (row.state === 'spent'), `${row.experiment_id}/${row.attempt} is ${row.state} in the ledger`);
  }

  for (const { experiment_id: id, state, val_bpb } of experiments) {
    const order = input.orders.find(({ experimentId }) => experimentId === id);
    expect(order !== undefined, `${id} was never ordered, or ordered twice`);
    const known = EXPERIMENT_STATES.find((one) => one === state);
    expect(known !== undefined && isFinal(known), `${id} is still ${state}`);
    expect(state === 'published' && val_bpb === Number(order?.valBpb), `${id} is ${state} with ${val_bpb}`);
    const own = records.filter((record) => record.experiment_id === id);
    expect(own.length === 1, `${id} has ${own.length} records`);
  }
  expect(experiments.length === input.orders.length, `${experiments.length} of ${input.orders.length} experiments`);
  auditRecords(input.folder, records.length, settled, input.orders, expect);

  return {
    experimentCount: experiments.length,
    lostCount: experiments.filter(({ state }) => state === 'lost').length,
    doubleCount: double.length,
    isOverBudget,
    settlements,
    nonces: attempts.flatMap(({ nonce }) => nonce ?? []),
    violations,
  };
}

function auditRecords(
  folder: string,
  recordCount: number,
  settled: ReadonlyMap<string, Settlement>,
  orders: AuditInput['orders'],
  expect: (isRight: boolean, words: string) => void,
): void {
  const lines = readRecordLines(folder).map((line) => {
    try {
      return RecordLine.parse(JSON.parse(line));
    } catch {
      expect(false, `results.jsonl has the line ${line.slice(0, 120)}`);
      return undefined;
    }
  });
  expect(lines.length === recordCount, `results.jsonl has ${lines.length} lines, the store ${recordCount} records`);
  for (const { experimentId, valBpb } of orders) {
    const own = lines.flatMap((line) => (line?.experiment_id === experimentId ? [line] : []));
    const [line] = own;
    expect(own.length === 1, `results.jsonl has ${experimentId} ${own.length} times`);
    expect(line?.val_bpb === Number(valBpb), `results.jsonl has ${line?.val_bpb} for ${experimentId}`);
    expect(
      settled.get(line?.nonce ?? '')?.tx === line?.payment_tx,
      `results.jsonl misnames the payment of ${experimentId}`,
    );
  }
}
