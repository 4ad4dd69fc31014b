import { CoordinatorError } from '../base/errors.ts';
import { type AtomicUsdc, atomicUsdc, formatUsd } from '../base/money.ts';
import type { Db, Trx } from '../store/database.ts';

/** The limits in force, atomic USDC; absent means no limit of that kind. */
export interface Caps {
  readonly perExperimentAtomic: AtomicUsdc;
  readonly rollingDayAtomic: AtomicUsdc;
  readonly lifetimeAtomic?: AtomicUsdc;
  readonly loopAtomic?: AtomicUsdc;
}

/** Limits that everything which is paid shares. */
export type SharedCaps = Pick<Caps, 'rollingDayAtomic' | 'lifetimeAtomic'>;

export type CapName = 'experiment' | 'day' | 'lifetime' | 'loop';

const CAP_WORDS: Record<CapName, { words: string; raise: string }> = {
  experiment: { words: 'the cap of one experiment', raise: 'raise max_price_usdc, at most to AUTORESEARCH_MAX_PRICE' },
  day: {
    words: 'the budget of 24 hours',
    raise: 'wait until older payments are a day old, or raise AUTORESEARCH_BUDGET',
  },
  lifetime: { words: 'the lifetime budget', raise: 'raise AUTORESEARCH_BUDGET_TOTAL' },
  loop: { words: "the loop's budget", raise: 'start another loop with a larger budget_usdc' },
};

/** A payment would exceed a cap. */
export class OverBudgetError extends CoordinatorError {
  override readonly name = 'OverBudgetError';
  readonly code: string;
  readonly nextStep: string;
  /**
   * @param cap which limit  @param priceAtomic what the payment would cost
   * @param usedAtomic already reserved and spent under that limit  @param capAtomic the limit
   */
  constructor(
    readonly cap: CapName,
    readonly priceAtomic: AtomicUsdc,
    readonly usedAtomic: bigint,
    readonly capAtomic: AtomicUsdc,
  ) {
    const used = usedAtomic > 0n ? ` of which ${formatUsd(usedAtomic)} are reserved or spent` : '';
    super(
      `The worker asks ${formatUsd(priceAtomic)} USDC; ${CAP_WORDS[cap].words} is ${formatUsd(capAtomic)} USDC${used}. Nothing was signed or paid.`,
    );
    this.code = cap === 'experiment' ? 'over_price_cap' : 'over_budget';
    this.nextStep = `Choose a cheaper worker or ${CAP_WORDS[cap].raise}.`;
  }
}

const DAY_MS = 86_400_000;

/** What the ledger holds, atomic USDC. */
export interface LedgerSums {
  /** Paid, for ever. */
  readonly spentAtomic: AtomicUsdc;
  /** Paid within the last 24 hours. */
  readonly spentDayAtomic: AtomicUsdc;
  /** Reserved: an authorization may still be used; never ages out. */
  readonly heldAtomic: AtomicUsdc;
}

/** Adds up the ledger, of one loop or of all. */
export async function sumLedger(db: Db | Trx, nowMs: number, loopId?: string): Promise<LedgerSums> {
  // One statement, so that an entry which is closed meanwhile is counted on one side or the other.
  const sums = await db
    .selectNoFrom((eb) => {
      const all = eb.selectFrom('ledger').select((row) => row.fn.sum<number | null>('amount').as('total'));
      const own = loopId === undefined ? all : all.where('loop_id', '=', loopId);
      const spent = own.where('state', '=', 'spent');
      return [
        // The database keeps this sum itself: over a long life the ledger has a million entries.
        (loopId === undefined ? eb.selectFrom('spending').select('spent as total') : spent).as('ever'),
        spent.where('updated_at', '>', nowMs - DAY_MS).as('day'),
        own.where('state', '=', 'held').as('held'),
      ];
    })
    .executeTakeFirst();
  return {
    spentAtomic: atomicUsdc(sums?.ever ?? 0),
    spentDayAtomic: atomicUsdc(sums?.day ?? 0),
    heldAtomic: atomicUsdc(sums?.held ?? 0),
  };
}

/** What a limit leaves when so much of it is reserved and spent, atomic USDC; a limit that was lowered leaves nothing. */
export function leftUnder(capAtomic: AtomicUsdc, spentAtomic: AtomicUsdc, heldAtomic: AtomicUsdc): AtomicUsdc {
  const usedAtomic = spentAtomic + heldAtomic;
  return atomicUsdc(usedAtomic >= capAtomic ? 0n : capAtomic - usedAtomic);
}

/** What a loop has cost and may still cost. */
export interface LoopMoney {
  /** Payments that were made or are reserved. */
  readonly payments: number;
  /** Their sum, atomic USDC. */
  readonly usedAtomic: AtomicUsdc;
  /** What its own budget and the limits that it shares leave at most, atomic USDC. */
  readonly leftAtomic: AtomicUsdc;
}

/** Adds up what a loop has cost. @param caps limits beside the loop's own budget; null: none */
export async function loadLoopMoney(
  db: Db,
  loop: { readonly loopId: string; readonly budgetAtomic: AtomicUsdc },
  caps: SharedCaps | null,
  nowMs: number,
): Promise<LoopMoney> {
  const [own, all, { payments }] = await Promise.all([
    sumLedger(db, nowMs, loop.loopId),
    sumLedger(db, nowMs),
    db
      .selectFrom('ledger')
      .select((eb) => eb.fn.countAll<number>().as('payments'))
      .where('loop_id', '=', loop.loopId)
      .where('state', '!=', 'released')
      .executeTakeFirstOrThrow(),
  ]);
  const left = [leftUnder(loop.budgetAtomic, own.spentAtomic, own.heldAtomic)];
  if (caps) left.push(leftUnder(caps.rollingDayAtomic, all.spentDayAtomic, all.heldAtomic));
  if (caps?.lifetimeAtomic !== undefined) left.push(leftUnder(caps.lifetimeAtomic, all.spentAtomic, all.heldAtomic));
  return {
    payments,
    usedAtomic: atomicUsdc(own.spentAtomic + own.heldAtomic),
    leftAtomic: left.reduce((least, atomic) => (atomic < least ? atomic : least)),
  };
}

/** What is reserved for authorizations whose fate is not known yet, atomic USDC; part of what is held. */
export async function sumUnknown(db: Db): Promise<AtomicUsdc> {
  const row = await db
    .selectFrom('ledger')
    .innerJoin('experiments', 'experiments.experiment_id', 'ledger.experiment_id')
    .where('ledger.state', '=', 'held')
    .where('experiments.settlement', '=', 'unknown')
    .select((eb) => eb.fn.sum<number | null>('ledger.amount').as('total'))
    .executeTakeFirst();
  return atomicUsdc(row?.total ?? 0);
}

/**
 * Reserves the price of one attempt. Runs inside the transaction that writes the attempt's intent, which holds the one
 * write lock of the store: two processes cannot both take the last cent.
 * @throws OverBudgetError when a cap would be exceeded; the transaction then writes nothing
 */
export async function reserve(
  trx: Trx,
  entry: { experimentId: string; attempt: number; loopId: string | null; amountAtomic: AtomicUsdc },
  caps: Caps,
  nowMs: number,
): Promise<void> {
  const all = await sumLedger(trx, nowMs);
  const check = (cap: CapName, usedAtomic: bigint, capAtomic: AtomicUsdc | undefined) => {
    if (capAtomic !== undefined && usedAtomic + entry.amountAtomic > capAtomic) {
      throw new OverBudgetError(cap, entry.amountAtomic, usedAtomic, capAtomic);
    }
  };
  check('experiment', await sumLive(trx, entry.experimentId), caps.perExperimentAtomic);
  check('day', all.spentDayAtomic + all.heldAtomic, caps.rollingDayAtomic);
  check('lifetime', all.spentAtomic + all.heldAtomic, caps.lifetimeAtomic);
  if (entry.loopId !== null && caps.loopAtomic !== undefined) {
    const loop = await sumLedger(trx, nowMs, entry.loopId);
    check('loop', loop.spentAtomic + loop.heldAtomic, caps.loopAtomic);
  }
  await trx
    .insertInto('ledger')
    .values({
      experiment_id: entry.experimentId,
      attempt: entry.attempt,
      loop_id: entry.loopId,
      amount: Number(entry.amountAtomic),
      state: 'held',
      created_at: nowMs,
      updated_at: nowMs,
    })
    .execute();
}

/** What the attempts of one experiment have reserved and spent: its price cap is over all of them. */
async function sumLive(trx: Trx, experimentId: string): Promise<bigint> {
  const row = await trx
    .selectFrom('ledger')
    .select((eb) => eb.fn.sum<number | null>('amount').as('total'))
    .where('experiment_id', '=', experimentId)
    .where('state', '!=', 'released')
    .executeTakeFirst();
  return BigInt(row?.total ?? 0);
}

/** Takes back what counted as spent on a worker's word alone, now that the chain proves that it never was. */
export async function refuteSpending(trx: Trx, experimentId: string, attempt: number, nowMs: number): Promise<void> {
  await trx
    .updateTable('ledger')
    .set({ state: 'released', updated_at: nowMs })
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('state', '=', 'spent')
    .execute();
}

/**
 * Ends a reservation. `spent` is final; `released` needs proof that the authorization can never be used.
 * A row that is spent is never released.
 */
export async function closeReservation(
  trx: Trx,
  experimentId: string,
  attempt: number,
  outcome: 'spent' | 'released',
  nowMs: number,
): Promise<void> {
  await trx
    .updateTable('ledger')
    .set({ state: outcome, updated_at: nowMs })
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('state', '=', 'held')
    .execute();
}
