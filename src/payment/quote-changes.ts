import * as z from 'zod';
import { findChain } from '../base/chains.ts';
import { type AtomicUsdc, formatUsd, isAtomicText, parseAtomic } from '../base/money.ts';
import type { Offer, PaymentFlow, UnpayableOffer } from './offer.ts';

export interface QuotedTerms {
  readonly chainId: number;
  readonly asset: `0x${string}`;
  readonly payTo: `0x${string}`;
  readonly priceAtomic: AtomicUsdc;
  readonly maxTimeoutSeconds: number;
  readonly flow: PaymentFlow;
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

/** Both versions of every field in which a payable offer breaks a quote's word. */
export function listChanges(quoted: QuotedTerms, now: QuotedTerms): string[] {
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

/** What an offer states, as far as it can be read at all. */
const text = z.string().optional().catch(undefined);
const Stated = z.object({
  scheme: text,
  network: text,
  asset: text,
  payTo: text,
  amount: text,
  maxAmountRequired: text,
  extra: z
    .object({ name: text, version: text, assetTransferMethod: text, paymentFlow: text })
    .optional()
    .catch(undefined),
});

/**
 * What the fields of an offer look like that mean anything: hex, digits, an EVM chain, or a few short words of sixteen
 * characters together, which carry no message.
 */
const PLAIN = /^(?:0x[0-9a-fA-F]{1,64}|\d{1,78}|eip155:\d{1,20}|(?=.{1,16}$)[\w.₮-]+(?: [\w.₮-]+){0,2})$/;

/** The same for an offer that cannot be paid: what it states is quoted where it is plain, never read as a value. */
export function listStatedChanges(quoted: QuotedTerms, { document, problem }: UnpayableOffer): string[] {
  const stated = Stated.safeParse(document).data ?? {};
  const chain = findChain(quoted.chainId);
  const { name, version, assetTransferMethod = 'eip3009', paymentFlow = 'authorization' } = stated.extra ?? {};
  const isSameChain = stated.network !== undefined && findChain(stated.network)?.chainId === quoted.chainId;
  const amount = stated.amount ?? stated.maxAmountRequired;
  const isWithinPrice = amount !== undefined && isAtomicText(amount) && parseAtomic(amount) <= quoted.priceAtomic;
  const fields: Change[] = [
    ['scheme', 'exact', stated.scheme],
    ...(isSameChain ? [] : [['network', chain?.caip2 ?? `${quoted.chainId}`, stated.network] satisfies Change]),
    ['asset', quoted.asset, stated.asset],
    ['payee', quoted.payTo, stated.payTo],
    ...(isWithinPrice ? [] : [['price in atomic units', quoted.priceAtomic.toString(), amount] satisfies Change]),
    [
      'signing domain',
      `${chain?.asset.domainName} ${chain?.asset.domainVersion}`,
      name === undefined ? undefined : `${name} ${version}`,
    ],
    ['transfer method', 'eip3009', assetTransferMethod],
    ['payment flow', quoted.flow, paymentFlow],
  ];
  const changes = fields.flatMap(([field, was, now]) =>
    was.toLowerCase() === now?.toLowerCase()
      ? []
      : [
          `${field} ${was} quoted, ${now === undefined ? 'none' : PLAIN.test(now) ? JSON.stringify(now) : 'something odd'} now`,
        ],
  );
  return changes.length > 0 ? changes : [`the offer that was quoted cannot be paid any more (${problem})`];
}

type Change = [field: string, was: string, now: string | undefined];
