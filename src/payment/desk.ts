import { type Hex, isAddressEqual } from 'viem';
import { findChain, type PaymentChain } from '../base/chains.ts';
import { buildWorkerUrl } from '../base/endpoint.ts';
import type { Sha256 } from '../base/hash.ts';
import type { AtomicUsdc } from '../base/money.ts';
import type { Clock } from '../base/time.ts';
import type { Db } from '../store/database.ts';
import { type AssessedTerms, assessTerms } from './assess.ts';
import type { Attempt } from './attempt.ts';
import { createPaymentHeader } from './authorize.ts';
import { type Caps, OverBudgetError, sumLedger } from './budget.ts';
import type { ChainReader, ChainState } from './chain.ts';
import type { JournaledFeedback } from './feedback-transaction.ts';
import { assertNotFrozen } from './freeze.ts';
import { SigningGuard } from './guard.ts';
import type { PaymentIntent } from './intent.ts';
import { createNonce, createSalt } from './nonce.ts';
import type { Offer } from './offer.ts';
import { checkPayer } from './payer-check.ts';
import { NoWalletError, UnpayableError } from './payment-errors.ts';
import type { SignInCredential } from './sign-in.ts';
import { TermsError } from './terms.ts';
import type { Wallet } from './wallet.ts';

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
   * @throws TermsError when they cannot be read
   */
  readTerms(headers: Readonly<Record<string, string>>, body: Uint8Array): AssessedTerms {
    return assessTerms(headers, body, this.#payer);
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
    const reader = await this.#options.openChain(offer.chain);
    const fromBlock = reader && (await checkPayer(reader, db, offer, guard.payer, clock.nowMs()));
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
    return { intent, fromBlock };
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

  /**
   * Signs in as the wallet of a paid attempt, for one request to its worker and to no other host (worker-api.md
   * section 6). Allowed while spending is frozen: it opens what is paid for and moves no money.
   * @param path below the worker's endpoint
   * @throws NoWalletError, SignerError, GuardError
   */
  async signIn(
    { workerEndpoint, payment }: Attempt,
    path: string,
  ): Promise<{ readonly url: string; readonly authorization: SignInCredential }> {
    if (!payment) throw new NoWalletError();
    const { payer, chain } = payment.intent;
    const url = buildWorkerUrl(workerEndpoint, path);
    const guard = await this.#openGuard();
    return { url, authorization: await guard.signIn({ url, payer, chainId: chain.chainId }) };
  }

  /**
   * Signs a journaled feedback; nothing is sent by that.
   * @throws NoWalletError, SignerError, GuardError, FrozenError
   */
  async signFeedback(plan: JournaledFeedback): Promise<{ readonly raw: Hex; readonly tx: Hex }> {
    await assertNotFrozen(this.#options.db);
    return (await this.#openGuard()).signFeedback(plan);
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
