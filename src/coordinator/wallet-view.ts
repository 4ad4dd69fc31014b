import type { Hex } from 'viem';
import { CoordinatorError } from '../base/errors.ts';
import type { AtomicUsdc } from '../base/money.ts';
import { sleep } from '../base/time.ts';
import { leftUnder, sumLedger, sumUnknown } from '../payment/budget.ts';
import type { PaymentDesk } from '../payment/desk.ts';
import { loadFreeze } from '../payment/freeze.ts';
import type { Services } from './services.ts';

/** Payer, balance, caps and what is spent, reserved and left; asks the signer and the chain. */
export async function readWallet(services: Services) {
  const { db, clock, desk, config } = services;
  const [frozenSince, unknownAtomic, sums, funds] = await Promise.all([
    loadFreeze(db),
    sumUnknown(db),
    sumLedger(db, clock.nowMs()),
    fetchFunds(services),
  ]);
  const leftAtomic = leftUnder(config.budgetAtomic, sums.spentDayAtomic, sums.heldAtomic);
  return {
    ...(funds.payer === null ? {} : { payer: funds.payer }),
    chain: config.defaultChain.name,
    ...(funds.atomic === null ? {} : { balance_atomic: funds.atomic.toString() }),
    spent_atomic: sums.spentAtomic.toString(),
    spent_24h_atomic: sums.spentDayAtomic.toString(),
    reserved_atomic: sums.heldAtomic.toString(),
    unknown_atomic: unknownAtomic.toString(),
    left_24h_atomic: leftAtomic.toString(),
    caps: {
      max_price_atomic: desk.caps.perExperimentAtomic.toString(),
      budget_24h_atomic: config.budgetAtomic.toString(),
      ...(config.budgetTotalAtomic === undefined ? {} : { budget_total_atomic: config.budgetTotalAtomic.toString() }),
    },
    ...(frozenSince === null ? {} : { frozen_since: frozenSince }),
    health: { signer: funds.signer, rpc: funds.rpc },
    next_step: funds.nextStep ?? 'Find workers with discover_workers, or start a loop with run_loop.',
  };
}

/** Signer and chain that do not answer within this time are shown as silent, in milliseconds. */
const ASK_DEADLINE_MS = 3_000;

interface Funds {
  readonly payer: string | null;
  readonly atomic: AtomicUsdc | null;
  readonly signer: string;
  readonly rpc: string;
  /** What to do about the wallet; null when nothing is wrong with it. */
  readonly nextStep: string | null;
}

interface WalletFound {
  readonly payer: Hex | null;
  readonly words: string;
  readonly nextStep: string | null;
}

/** Payer and balance, as far as signer and chain answer in time. */
async function fetchFunds({ desk, config, openChain }: Services): Promise<Funds> {
  const [wallet, chain] = await Promise.all([
    inTime(describeWallet(desk), (found) => found, SILENT_WALLET),
    inTime(
      openChain(config.defaultChain),
      (reader) => ({ reader, words: reader ? 'ok' : `no usable JSON-RPC for ${config.defaultChain.name}` }),
      { reader: null, words: 'did not answer' },
    ),
  ]);
  const { payer } = wallet;
  const atomic =
    payer === null || !chain.reader ? null : await inTime(chain.reader.fetchBalance(payer), (found) => found, null);
  return {
    payer,
    atomic,
    signer: wallet.words,
    nextStep: wallet.nextStep,
    rpc: payer !== null && chain.reader && atomic === null ? 'did not answer' : chain.words,
  };
}

const SILENT_WALLET: WalletFound = {
  payer: null,
  words: 'did not answer',
  nextStep: 'Nothing can be paid until the signer answers: check it with the command doctor.',
};

async function describeWallet(desk: PaymentDesk): Promise<WalletFound> {
  const { walletKind } = desk;
  if (walletKind === null) {
    const nextStep = 'Set AUTORESEARCH_PRIVATE_KEY_FILE to be able to pay; reading tools work without.';
    return { payer: null, words: 'not configured', nextStep };
  }
  try {
    return { payer: await desk.fetchPayer(), words: `ok (${walletKind})`, nextStep: null };
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    return { payer: null, words: error.message, nextStep: error.nextStep };
  }
}

/** What a question gives within the deadline, or what to say instead. */
async function inTime<T, R>(asked: Promise<T>, read: (value: T) => R, otherwise: R): Promise<R> {
  const late = sleep(ASK_DEADLINE_MS).then(() => otherwise);
  return Promise.race([asked.then(read, () => otherwise), late]);
}
