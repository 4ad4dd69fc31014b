import * as z from 'zod';
import { findChain } from '../base/chains.ts';
import { CoordinatorError } from '../base/errors.ts';
import { createQuoteId, QuoteId } from '../base/ids.ts';
import { readJson } from '../base/json.ts';
import { type AtomicUsdc, formatUsd, parseAtomic } from '../base/money.ts';
import type { Db } from '../store/database.ts';
import type { Offer, PaymentFlow } from './offer.ts';

/** How long a quote may be used, in milliseconds: long enough to think, too short for prices to drift far. */
export const QUOTE_LIFETIME_MS = 10 * 60_000;

/** What a caller saw and consents to; a payment may be cheaper, but differ in nothing else. */
export interface Quote {
  readonly quoteId: QuoteId;
  readonly workerEndpoint: string;
  readonly workerId: string | null;
  readonly terms: QuotedTerms;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface QuotedTerms {
  readonly chainId: number;
  readonly asset: `0x${string}`;
  readonly payTo: `0x${string}`;
  readonly priceAtomic: AtomicUsdc;
  readonly maxTimeoutSeconds: number;
  readonly flow: PaymentFlow;
}

/** The fresh terms of a worker are not those that were quoted. */
export class QuoteChangedError extends CoordinatorError {
  override readonly name = 'QuoteChangedError';
  readonly code = 'quote_changed';
  readonly nextStep = 'Probe the worker again and decide whether its new terms are worth it, or choose another worker.';
  /** @param changes both versions of every field that differs */
  constructor(readonly changes: readonly string[]) {
    super(`The worker's terms are not those that were quoted: ${changes.join('; ')}. Nothing was signed or paid.`);
  }
}

/** Reduces an offer to what consent is about. */
export function quoteTerms(offer: Offer): QuotedTerms {
  return {
    chainId: offer.chain.chainId,
    asset: offer.chain.asset.address,
    payTo: offer.payTo,
    priceAtomic: offer.priceAtomic,
    maxTimeoutSeconds: offer.maxTimeoutSeconds,
    flow: offer.flow,
  };
}

/**
 * Finds, among fresh offers, one that keeps a quote's word: same payee, asset, chain, time limit and flow, at most its price.
 * @throws QuoteChangedError with both versions when none does
 */
export function matchQuote(quoted: QuotedTerms, fresh: readonly Offer[]): Offer {
  const kept = fresh.find((offer) => listChanges(quoted, quoteTerms(offer)).length === 0);
  if (kept) return kept;
  const nearest = fresh[0];
  throw new QuoteChangedError(nearest ? listChanges(quoted, quoteTerms(nearest)) : ['no payable offer is left']);
}

function listChanges(quoted: QuotedTerms, now: QuotedTerms): string[] {
  const changes: string[] = [];
  if (now.priceAtomic > quoted.priceAtomic) {
    changes.push(`price ${formatUsd(quoted.priceAtomic)} USDC quoted, ${formatUsd(now.priceAtomic)} USDC now`);
  }
  const chainName = (id: number) => findChain(id)?.name ?? String(id);
  if (now.chainId !== quoted.chainId)
    changes.push(`network ${chainName(quoted.chainId)} quoted, ${chainName(now.chainId)} now`);
  if (now.asset !== quoted.asset && now.chainId === quoted.chainId)
    changes.push(`asset ${quoted.asset} quoted, ${now.asset} now`);
  if (now.payTo !== quoted.payTo) changes.push(`payee ${quoted.payTo} quoted, ${now.payTo} now`);
  if (now.maxTimeoutSeconds !== quoted.maxTimeoutSeconds)
    changes.push(`time limit ${quoted.maxTimeoutSeconds} s quoted, ${now.maxTimeoutSeconds} s now`);
  if (now.flow !== quoted.flow) changes.push(`payment flow ${quoted.flow} quoted, ${now.flow} now`);
  return changes;
}

const StoredTerms = z.object({
  chainId: z.int(),
  asset: z.templateLiteral(['0x', z.string()]),
  payTo: z.templateLiteral(['0x', z.string()]),
  priceAtomic: z.string().transform(parseAtomic),
  maxTimeoutSeconds: z.int(),
  flow: z.enum(['authorization', 'upfront']),
});

/** Keeps a quote under a new random id. */
export async function saveQuote(
  db: Db,
  workerEndpoint: string,
  workerId: string | null,
  offer: Offer,
  nowMs: number,
): Promise<Quote> {
  const terms = quoteTerms(offer);
  const quote = {
    quoteId: createQuoteId(),
    workerEndpoint,
    workerId,
    terms,
    createdAtMs: nowMs,
    expiresAtMs: nowMs + QUOTE_LIFETIME_MS,
  };
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('quotes')
      .values({
        quote_id: quote.quoteId,
        worker_endpoint: workerEndpoint,
        worker_id: workerId,
        terms: JSON.stringify({ ...terms, priceAtomic: terms.priceAtomic.toString() }),
        created_at: nowMs,
        expires_at: quote.expiresAtMs,
      })
      .execute();
  });
  return quote;
}

/** Finds a quote by its id, expired or not. */
export async function loadQuote(db: Db, quoteId: string): Promise<Quote | undefined> {
  const row = await db.selectFrom('quotes').selectAll().where('quote_id', '=', quoteId).executeTakeFirst();
  if (!row) return undefined;
  return {
    quoteId: QuoteId.parse(row.quote_id),
    workerEndpoint: row.worker_endpoint,
    workerId: row.worker_id,
    terms: readJson(StoredTerms, row.terms),
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at,
  };
}
