import { type Hex, isAddressEqual } from 'viem';
import { findChain, type PaymentChain } from '../base/chains.ts';
import { CoordinatorError } from '../base/errors.ts';
import type { Sha256 } from '../base/hash.ts';
import { type AtomicUsdc, formatUsd } from '../base/money.ts';
import type { Clock } from '../base/time.ts';
import type { Db } from '../store/database.ts';
import type { Attempt, StoredTerms } from './attempt.ts';
import { createPaymentHeader } from './authorize.ts';
import { type Caps, OverBudgetError, sumLedger } from './budget.ts';
import type { ChainReader, ChainState } from './chain.ts';
import { assertNotFrozen } from './freeze.ts';
import { SigningGuard } from './guard.ts';
import type { PaymentIntent } from './intent.ts';
import { createNonce, createSalt } from './nonce.ts';
import { type Offer, sortOffers } from './offer.ts';
import { parseTerms, TermsError } from './terms.ts';
import type { Wallet } from './wallet.ts';

/** A paid call needs a key and there is none. */
export class NoWalletError extends CoordinatorError {
  override readonly name = 'NoWalletError';
  readonly code = 'no_wallet';
  readonly nextStep =
    'Set AUTORESEARCH_PRIVATE_KEY_FILE to a file (mode 600) with the key of a wallet that holds only the experiment budget, then restart. Reading tools work without it.';
  constructor() {
    super('No wallet is configured, so nothing can be paid. Nothing was signed or paid.');
  }
}

/** The payer cannot cover the price, or the payment cannot be prepared safely. */
export class UnpayableError extends CoordinatorError {
  override readonly name = 'UnpayableError';
  constructor(
    readonly code:
      | 'insufficient_balance'
      | 'clock_skew'
      | 'timeout_too_short'
      | 'upfront_refused'
      | 'contract_wallet'
      | 'chain_unreadable',
    message: string,
    readonly nextStep: string,
  ) {
    super(`${message} Nothing was signed or paid.`);
  }
}

export interface DeskOptions {
  readonly db: Db;
  /** Null when none is configured: offers can be read, not paid. */
  readonly wallet: Wallet | null;
  readonly caps: Caps;
  readonly maxValiditySeconds: number;
  /** A reader of the chain, or null when none can be had. */
  readonly openChain: (chain: PaymentChain) => Promise<ChainReader | null>;
  readonly masterSecret: string;
  readonly clock: Clock;
}

/** What a worker asks, read and checked. */
export interface AssessedTerms {
  /** Cheapest first; at least one. */
  readonly offers: readonly Offer[];
  toStored(offer: Offer): StoredTerms;
}

/** A clock that is off by more than this makes windows of time meaningless, in seconds (x402.md section 6). */
const MAX_SKEW_SECONDS = 30;
/** Added to the expected run for loading, settling and clocks, in seconds (design.md section 5, invariant 3). */
const WINDOW_MARGIN_SECONDS = 120;
/** Signing, sending and settling alone take this long, in seconds: a shorter window runs out before it can be used. */
const SHORTEST_WINDOW_SECONDS = 60;

/** Everything about money that an experiment needs: terms, intents, signatures and the fate of authorizations. */
export class PaymentDesk {
  readonly #options: DeskOptions;
  #guard: Promise<SigningGuard> | undefined;
  #payer: Hex | null = null;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  get caps(): Caps {
    return this.#options.caps;
  }

  /** What kind of wallet is configured; null without one. */
  get walletKind(): Wallet['kind'] | null {
    return this.#options.wallet?.kind ?? null;
  }

  /**
   * The address that pays; null without a wallet. Opens the wallet.
   * @throws SignerError, ConfigurationError when it cannot be opened
   */
  async fetchPayer(): Promise<Hex | null> {
    return this.#options.wallet ? (await this.#openGuard()).payer : null;
  }

  #openGuard(): Promise<SigningGuard> {
    const { wallet, caps, maxValiditySeconds, clock } = this.#options;
    if (!wallet) return Promise.reject(new NoWalletError());
    this.#guard ??= wallet.open().then(
      (keyHolder) => {
        this.#payer = keyHolder.address;
        return new SigningGuard(keyHolder, { maxPriceAtomic: caps.perExperimentAtomic, maxValiditySeconds }, clock);
      },
      (error: unknown) => {
        // A signer that was away may be back for the next payment.
        this.#guard = undefined;
        throw error;
      },
    );
    return this.#guard;
  }

  /**
   * Reads the terms of a 402.
   * @throws TermsError when no offer can be paid
   */
  assess(headers: Readonly<Record<string, string>>, body: Uint8Array): AssessedTerms {
    const terms = parseTerms(headers, body);
    const { payable, problems } = sortOffers(terms, this.#payer);
    if (payable.length === 0) {
      const reasons = Object.entries(problems).map(([problem, count]) => `${count} × ${problem}`);
      throw new TermsError(
        'no_payable_offer',
        `The worker makes no offer that can be paid safely (${reasons.join(', ') || 'none at all'}).`,
      );
    }
    return {
      offers: payable,
      toStored: (offer) => ({
        x402Version: offer.x402Version,
        network: offer.network,
        flow: offer.flow,
        isInBody: terms.isInBody,
        envelope: terms.envelope,
        offer: offer.raw,
      }),
    };
  }

  /**
   * Checks a price against every cap as it stands now. Only `reserve` decides; this tells a caller beforehand.
   * @throws OverBudgetError
   */
  async checkCaps(priceAtomic: AtomicUsdc, maxPriceAtomic: AtomicUsdc): Promise<void> {
    const { caps, db, clock } = this.#options;
    if (priceAtomic > maxPriceAtomic) throw new OverBudgetError('experiment', priceAtomic, 0n, maxPriceAtomic);
    const sums = await sumLedger(db, clock.nowMs());
    const dayAtomic = sums.spentDayAtomic + sums.heldAtomic;
    if (dayAtomic + priceAtomic > caps.rollingDayAtomic) {
      throw new OverBudgetError('day', priceAtomic, dayAtomic, caps.rollingDayAtomic);
    }
    const allAtomic = sums.spentAtomic + sums.heldAtomic;
    if (caps.lifetimeAtomic !== undefined && allAtomic + priceAtomic > caps.lifetimeAtomic) {
      throw new OverBudgetError('lifetime', priceAtomic, allAtomic, caps.lifetimeAtomic);
    }
  }

  /**
   * Prepares the intent of an attempt; nothing is written yet.
   * @param expectedSeconds how long the worker may take for the run
   * @throws NoWalletError, UnpayableError
   */
  async prepareIntent(
    offer: Offer,
    attempt: { experimentId: string; attempt: number; variantHash: Sha256; workerEndpoint: string },
    expectedSeconds: number,
  ): Promise<{ intent: PaymentIntent; fromBlock: bigint | null }> {
    const { db, masterSecret, clock } = this.#options;
    await assertNotFrozen(db);
    const guard = await this.#openGuard();
    if (isAddressEqual(offer.payTo, guard.payer))
      throw new TermsError('no_payable_offer', 'The worker names our own wallet as its payee.');
    const head = await this.#checkPayer(offer, guard.payer);
    const validitySeconds = Math.min(
      offer.maxTimeoutSeconds,
      this.#options.maxValiditySeconds,
      Math.ceil(expectedSeconds) + WINDOW_MARGIN_SECONDS,
    );
    if (validitySeconds < SHORTEST_WINDOW_SECONDS) {
      throw new UnpayableError(
        'timeout_too_short',
        `The worker wants its payment settled within ${offer.maxTimeoutSeconds} s, which is too short to send it safely.`,
        'Choose another worker.',
      );
    }
    const salt = createSalt(masterSecret, attempt.experimentId, attempt.attempt);
    const nonce = createNonce(attempt.experimentId, attempt.attempt, attempt.variantHash, attempt.workerEndpoint, salt);
    const intent: PaymentIntent = {
      experimentId: attempt.experimentId,
      attempt: attempt.attempt,
      chain: offer.chain,
      payer: guard.payer,
      payTo: offer.payTo,
      valueAtomic: offer.priceAtomic,
      validBefore: Math.floor(clock.nowMs() / 1000) + validitySeconds,
      nonce,
    };
    return { intent, fromBlock: head };
  }

  /** Checks, where the chain can be read, that the payer can pay and that our clock agrees with the chain's. */
  async #checkPayer(offer: Offer, payer: Hex): Promise<bigint | null> {
    const { db, clock } = this.#options;
    const reader = await this.#options.openChain(offer.chain);
    if (!reader) return null;
    const sums = await sumLedger(db, clock.nowMs());
    const [head, hasCode, balanceAtomic] = await Promise.all([
      reader.fetchHead(),
      reader.hasCode(payer),
      reader.fetchBalance(payer),
    ]).catch(() => {
      throw new UnpayableError(
        'chain_unreadable',
        `The node of ${offer.chain.name} does not answer, so the wallet cannot be checked.`,
        'Check ERPC_URL; the experiment waits for the node meanwhile.',
      );
    });
    if (hasCode) {
      throw new UnpayableError(
        'contract_wallet',
        `The wallet ${payer} is a contract on ${offer.chain.name}; its signatures are not ones that workers accept.`,
        'Pay from an ordinary account.',
      );
    }
    if (head.timeUnix - clock.nowMs() / 1000 > MAX_SKEW_SECONDS) {
      throw new UnpayableError(
        'clock_skew',
        "This machine's clock is behind the chain's by more than 30 seconds.",
        'Set the clock of this machine.',
      );
    }
    if (balanceAtomic < sums.heldAtomic + offer.priceAtomic) {
      throw new UnpayableError(
        'insufficient_balance',
        `The wallet ${payer} holds ${formatUsd(balanceAtomic)} USDC on ${offer.chain.name}, of which ${formatUsd(sums.heldAtomic)} are reserved; the worker asks ${formatUsd(offer.priceAtomic)}.`,
        `Send USDC on ${offer.chain.name} to the wallet.`,
      );
    }
    return head.block;
  }

  /** Signs a journaled attempt. @throws NoWalletError, SignerError, GuardError, FrozenError */
  async signAttempt(attempt: Attempt): Promise<{ name: 'PAYMENT-SIGNATURE' | 'X-PAYMENT'; value: string }> {
    if (!attempt.payment) throw new NoWalletError();
    await assertNotFrozen(this.#options.db);
    return createPaymentHeader(await this.#openGuard(), attempt.payment.intent, attempt.payment.terms);
  }

  /** Asked before every send. @throws FrozenError while spending is frozen */
  async assertMaySend(): Promise<void> {
    await assertNotFrozen(this.#options.db);
  }

  /** Asks the chain what became of an attempt's authorization; `unverifiable` when no chain can be read. */
  async fetchState(attempt: Attempt): Promise<ChainState | { readonly kind: 'unverifiable' }> {
    const { payment } = attempt;
    if (!payment) return { kind: 'unverifiable' };
    const chain = findChain(payment.intent.chain.chainId);
    const reader = chain && (await this.#options.openChain(chain));
    if (!reader) return { kind: 'unverifiable' };
    return reader
      .fetchState(payment.intent, attempt.fromBlock, attempt.claimedTx)
      .catch(() => ({ kind: 'unverifiable' }) as const);
  }
}
