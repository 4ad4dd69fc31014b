import { getAddress, isAddress, isAddressEqual, zeroAddress } from 'viem';
import * as z from 'zod';
import { findChain, type PaymentChain } from '../base/chains.ts';
import { isShallow, JsonObject } from '../base/json.ts';
import { type AtomicUsdc, isAtomicText, parseAtomic } from '../base/money.ts';
import type { PaymentTerms } from './terms.ts';

export type PaymentFlow = 'authorization' | 'upfront';

/** One way to pay a worker that passed every rule of x402.md section 8.1. */
export interface Offer {
  readonly x402Version: 1 | 2;
  readonly chain: PaymentChain;
  /** The network in the worker's own spelling, CAIP-2 or alias. */
  readonly network: string;
  readonly priceAtomic: AtomicUsdc;
  /** Checksummed. */
  readonly payTo: `0x${string}`;
  /** Seconds within which the worker wants the authorization to be usable. */
  readonly maxTimeoutSeconds: number;
  readonly flow: PaymentFlow;
  /** The offer as received, echoed when paying. */
  readonly raw: JsonObject;
}

export type OfferProblem =
  | 'malformed'
  | 'scheme'
  | 'network'
  | 'asset'
  | 'amount'
  | 'domain'
  | 'transfer_method'
  | 'flow'
  | 'pay_to'
  | 'timeout';

const RawOffer = z.looseObject({
  scheme: z.string(),
  network: z.string(),
  amount: z.string().optional(),
  maxAmountRequired: z.string().optional(),
  asset: z.string(),
  payTo: z.string(),
  maxTimeoutSeconds: z.number(),
  extra: z.looseObject({
    name: z.string(),
    version: z.string(),
    assetTransferMethod: z.string().optional(),
    paymentFlow: z.string().optional(),
    eip712Domain: z
      .looseObject({
        name: z.string().optional(),
        version: z.string().optional(),
        chainId: z.union([z.number(), z.string()]).optional(),
        verifyingContract: z.string().optional(),
      })
      .optional(),
  }),
});
type RawOffer = z.infer<typeof RawOffer>;

/** Longest window that an offer may announce, in seconds: a day, as the field's gates do. */
const MAX_TIMEOUT_SECONDS = 86_400;

/**
 * Checks one offer against the strict rules. What it pays is decided by our own table of assets, never by the offer.
 * @param payer our own address, which an offer must not name as its payee; null when no key is configured
 * @returns the offer, or why it cannot be paid
 */
export function parseOffer(x402Version: 1 | 2, document: unknown, payer: `0x${string}` | null): Offer | OfferProblem {
  const parsed = RawOffer.safeParse(document);
  // What JSON can spell and we cannot echo, such as 1e400, makes an offer malformed.
  const echo = isShallow(document) ? JsonObject.safeParse(document) : undefined;
  if (!parsed.success || !echo?.success) return 'malformed';
  const raw = parsed.data;
  if (raw.scheme !== 'exact') return 'scheme';
  const chain = findNetwork(x402Version, raw.network);
  if (!chain) return 'network';
  if (raw.asset.toLowerCase() !== chain.asset.address.toLowerCase()) return 'asset';
  const amount = x402Version === 1 ? raw.maxAmountRequired : raw.amount;
  if (amount === undefined || amount === '0' || !isAtomicText(amount)) return 'amount';
  if (!hasPinnedDomain(raw, chain)) return 'domain';
  if (![undefined, 'eip3009'].includes(raw.extra.assetTransferMethod)) return 'transfer_method';
  const flow = raw.extra.paymentFlow ?? 'authorization';
  if (flow !== 'authorization' && flow !== 'upfront') return 'flow';
  if (!isPayable(raw.payTo, chain, payer)) return 'pay_to';
  const { maxTimeoutSeconds } = raw;
  if (!Number.isInteger(maxTimeoutSeconds) || maxTimeoutSeconds < 1 || maxTimeoutSeconds > MAX_TIMEOUT_SECONDS)
    return 'timeout';
  return {
    x402Version,
    chain,
    network: raw.network,
    priceAtomic: parseAtomic(amount),
    payTo: getAddress(raw.payTo),
    maxTimeoutSeconds,
    flow,
    raw: echo.data,
  };
}

/** The names of x402 v1; on the other chains only v2 can be paid (x402.md section 1). */
const V1_NETWORKS: readonly string[] = [
  'base',
  'base-sepolia',
  'ethereum',
  'avalanche',
  'polygon',
  'celo',
  'sei',
  'sei-testnet',
  'monad',
];

/**
 * Only the exact spelling of its version: any other would be echoed, and the gate or the SDK would refuse it. The alias
 * twins that some gates put into v2 terms fall away here.
 */
function findNetwork(x402Version: 1 | 2, network: string): PaymentChain | undefined {
  const chain = findChain(network);
  if (x402Version === 2) return network === chain?.caip2 ? chain : undefined;
  return network === chain?.name && V1_NETWORKS.includes(network) ? chain : undefined;
}

function hasPinnedDomain({ extra }: RawOffer, { asset, chainId }: PaymentChain): boolean {
  const domain = extra.eip712Domain;
  return (
    extra.name === asset.domainName &&
    extra.version === asset.domainVersion &&
    (domain?.name ?? asset.domainName) === asset.domainName &&
    (domain?.version ?? asset.domainVersion) === asset.domainVersion &&
    String(domain?.chainId ?? chainId) === String(chainId) &&
    (domain?.verifyingContract ?? asset.address).toLowerCase() === asset.address.toLowerCase()
  );
}

function isPayable(payTo: string, chain: PaymentChain, payer: `0x${string}` | null): boolean {
  // A mixed-case address carries a checksum, which viem's strict form checks; one of a single case carries none.
  const digits = payTo.slice(2);
  const isMixed = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  if (!isAddress(payTo, { strict: isMixed })) return false;
  const refused = [zeroAddress, chain.asset.address, ...(payer ? [payer] : [])];
  return !refused.some((address) => isAddressEqual(address, payTo));
}

/** An offer as received, which cannot be paid. */
export interface UnpayableOffer {
  readonly problem: OfferProblem;
  readonly document: unknown;
}

export interface OfferChoice {
  /** Every offer that can be paid, cheapest first, CAIP-2 before alias. */
  readonly payable: readonly Offer[];
  readonly unpayable: readonly UnpayableOffer[];
}

/** Sorts the offers of a 402 into payable ones and the others with their reasons. */
export function sortOffers(terms: PaymentTerms, payer: `0x${string}` | null): OfferChoice {
  const payable: Offer[] = [];
  const unpayable: UnpayableOffer[] = [];
  for (const document of terms.offers) {
    const offer = parseOffer(terms.x402Version, document, payer);
    if (typeof offer === 'string') unpayable.push({ problem: offer, document });
    else payable.push(offer);
  }
  const rank = (offer: Offer) => (offer.network === offer.chain.caip2 ? 0 : 1);
  payable.sort((a, b) =>
    a.priceAtomic === b.priceAtomic ? rank(a) - rank(b) : a.priceAtomic < b.priceAtomic ? -1 : 1,
  );
  return { payable, unpayable };
}
