import type { Hex } from 'viem';
import { formatUsd } from '../base/money.ts';
import type { Db } from '../store/database.ts';
import { sumLedger } from './budget.ts';
import type { ChainReader } from './chain.ts';
import type { Offer } from './offer.ts';
import { UnpayableError } from './payment-errors.ts';

/** A clock that is off by more than this makes windows of time meaningless, in seconds (x402.md section 6). */
const MAX_SKEW_SECONDS = 30;
/** A node whose newest block is older than this does not follow its chain, or our clock is ahead of it, in seconds. */
const MAX_HEAD_AGE_SECONDS = 600;

/**
 * Checks on the chain, before anything is signed, that the payer can pay and that our clock agrees with the chain's.
 * @returns the newest block: where the search for the settlement starts
 * @throws UnpayableError
 */
export async function checkPayer(
  reader: ChainReader,
  db: Db,
  offer: Offer,
  payer: Hex,
  nowMs: number,
): Promise<bigint> {
  const { name } = offer.chain;
  const [sums, head, hasCode, balanceAtomic] = await Promise.all([
    sumLedger(db, nowMs),
    reader.fetchHead(),
    reader.hasCode(payer),
    reader.fetchBalance(payer),
  ]).catch(() => {
    throw new UnpayableError(
      'chain_unreadable',
      `The node of ${name} does not answer, so the wallet cannot be checked.`,
      'Check ERPC_URL; the experiment waits for the node meanwhile.',
    );
  });
  if (hasCode) {
    throw new UnpayableError(
      'contract_wallet',
      `The wallet ${payer} is a contract on ${name}; its signatures are not ones that workers accept.`,
      'Pay from an ordinary account.',
    );
  }
  const aheadSeconds = head.timeUnix - nowMs / 1000;
  if (aheadSeconds > MAX_SKEW_SECONDS) {
    throw new UnpayableError(
      'clock_skew',
      "This machine's clock is behind the chain's by more than 30 seconds.",
      'Set the clock of this machine.',
    );
  }
  if (aheadSeconds < -MAX_HEAD_AGE_SECONDS) {
    throw new UnpayableError(
      'chain_unreadable',
      `The newest block that the node of ${name} knows is ${Math.round(-aheadSeconds)} s old, so what it says of the wallet may be out of date.`,
      'Set the clock of this machine if it is ahead, or name a node that is in sync in ERPC_URL; the experiment waits meanwhile.',
    );
  }
  if (balanceAtomic < sums.heldAtomic + offer.priceAtomic) {
    throw new UnpayableError(
      'insufficient_balance',
      `The wallet ${payer} holds ${formatUsd(balanceAtomic)} USDC on ${name}, of which ${formatUsd(sums.heldAtomic)} are reserved; the worker asks ${formatUsd(offer.priceAtomic)}.`,
      `Send USDC on ${name} to the wallet.`,
    );
  }
  return head.block;
}
