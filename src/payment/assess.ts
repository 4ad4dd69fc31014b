import type { StoredTerms } from './attempt.ts';
import { type Offer, type OfferProblem, sortOffers, type UnpayableOffer } from './offer.ts';
import { parseTerms, TermsError } from './terms.ts';

/** What a worker asks, read and checked. */
export interface AssessedTerms {
  /** Cheapest first; none when nothing can be paid. */
  readonly offers: readonly Offer[];
  readonly unpayable: readonly UnpayableOffer[];
  toStored(offer: Offer): StoredTerms;
}

/**
 * Reads the terms of a 402.
 * @param payer our own address, null while it is not known
 * @throws TermsError when they cannot be read
 */
export function assessTerms(
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  payer: `0x${string}` | null,
): AssessedTerms {
  const terms = parseTerms(headers, body);
  const { payable, unpayable } = sortOffers(terms, payer);
  return {
    offers: payable,
    unpayable,
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
 * The cheapest of the offers that can be paid, and all of them.
 * @throws TermsError with the reasons when there is none
 */
export function requirePayable({ offers, unpayable }: AssessedTerms): readonly [Offer, ...Offer[]] {
  const [cheapest, ...dearer] = offers;
  if (cheapest) return [cheapest, ...dearer];
  const counts = new Map<OfferProblem, number>();
  for (const { problem } of unpayable) counts.set(problem, (counts.get(problem) ?? 0) + 1);
  const reasons = [...counts].map(([problem, count]) => `${count} × ${problem}`);
  throw new TermsError(
    'no_payable_offer',
    `The worker makes no offer that can be paid safely (${reasons.join(', ') || 'none at all'}).`,
  );
}
