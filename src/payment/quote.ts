import * as z from 'zod';
import { CoordinatorError } from '../base/errors.ts';
import { createQuoteId, QuoteId } from '../base/ids.ts';
import { readJson } from '../base/json.ts';
import { parseAtomic } from '../base/money.ts';
import type { Db } from '../store/database.ts';
import type { AssessedTerms } from './assess.ts';
import type { Offer } from './offer.ts';
import { listChanges, listStatedChanges, type QuotedTerms, quoteTerms } from './quote-changes.ts';

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

/**
 * Finds, among fresh offers, one that keeps a quote's word: same payee, asset, chain, time limit and flow, at most its price.
 * @throws QuoteChangedError with both versions when none does
 */
export function matchQuote(quoted: QuotedTerms, fresh: Pick<AssessedTerms, 'offers' | 'unpayable'>): Offer {
  const kept = fresh.offers.find((offer) => listChanges(quoted, quoteTerms(offer)).length === 0);
  if (kept) return kept;
  const [nearest] = fresh.offers;
  const [refused] = fresh.unpayable;
  if (nearest) throw new QuoteChangedError(listChanges(quoted, quoteTerms(nearest)));
  throw new QuoteChangedError(refused ? listStatedChanges(quoted, refused) : ['no offer is left']);
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
