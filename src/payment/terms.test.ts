import fc from 'fast-check';
import { getAddress, isAddress } from 'viem';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { PAYMENT_CHAINS } from '../base/chains.ts';
import { isShallow } from '../base/json.ts';
import { type Offer, parseOffer, sortOffers } from './offer.ts';
import { matchQuote, QuoteChangedError } from './quote.ts';
import { quoteTerms } from './quote-changes.ts';
import { MAX_TERMS_BYTES, parseTerms, TermsError } from './terms.ts';

const PAYER = '0x70997970C51812dc3A010C7d01b50e0d17dc79C8';
const PAY_TO = '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC';
const USDC = '0x036CbD53842c5426634e7929541eC2318f3dCF7e';

const v2Offer = {
  scheme: 'exact',
  network: 'eip155:84532',
  amount: '50000',
  asset: USDC,
  payTo: PAY_TO,
  maxTimeoutSeconds: 900,
  extra: { name: 'USDC', version: '2' },
};
const { amount: _amount, ...withoutAmount } = v2Offer;
const v1Offer = {
  ...withoutAmount,
  network: 'base-sepolia',
  maxAmountRequired: '50000',
  resource: 'http://127.0.0.1/experiment',
  description: 'exp',
  mimeType: '',
};
const v2 = { x402Version: 2, error: 'Payment required', resource: { url: 'https://w.example/x' }, accepts: [v2Offer] };
const v1 = { x402Version: 1, error: 'X-PAYMENT header is required', accepts: [v1Offer] };

const bytes = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const header = (value: unknown) => ({ 'payment-required': Buffer.from(JSON.stringify(value)).toString('base64') });
const nothing = new Uint8Array();

function codeOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof TermsError) return error.code;
    throw error;
  }
  return 'none';
}

describe('parseTerms', () => {
  it('reads v2 from the header, whatever the body holds', () => {
    for (const body of [nothing, bytes('{}'), bytes('<html>'), bytes('[1]')]) {
      expect(parseTerms(header(v2), body)).toEqual({
        x402Version: 2,
        envelope: { x402Version: 2, error: 'Payment required', resource: { url: 'https://w.example/x' } },
        offers: [v2Offer],
        isInBody: false,
      });
    }
  });

  it('reads v2 and v1 from the body when the header has none, or none that can be read', () => {
    expect(parseTerms({}, bytes(v2))).toMatchObject({ x402Version: 2, isInBody: true });
    expect(parseTerms({ 'payment-required': '%%%' }, bytes(v2))).toMatchObject({ x402Version: 2, isInBody: true });
    expect(parseTerms({}, bytes(v1))).toMatchObject({ x402Version: 1, offers: [v1Offer] });
  });

  it('believes the header when header and body differ', () => {
    const dear = { ...v2, accepts: [{ ...v2Offer, amount: '990000' }] };
    expect(parseTerms(header(v2), bytes(dear))).toMatchObject({ offers: [v2Offer], isInBody: true });
  });

  it('never pays the flat form of before v1', () => {
    const flat = { payTo: PAY_TO, network: 'base-sepolia', maxAmountRequired: '50000' };
    expect(codeOf(() => parseTerms({}, bytes(flat)))).toBe('terms_flat');
    expect(codeOf(() => parseTerms({}, bytes({ ...flat, maxAmountRequired: 50_000 })))).toBe('terms_flat');
  });

  it.each([
    '',
    'null',
    '[]',
    '"x"',
    '{',
    '{}',
    JSON.stringify({ ...v2, x402Version: '2' }),
    JSON.stringify({ ...v2, x402Version: 3 }),
    JSON.stringify({ ...v2, x402Version: 1.5 }),
    JSON.stringify({ ...v2, accepts: undefined }),
    JSON.stringify({ ...v2, accepts: {} }),
    JSON.stringify({ ...v2, accepts: Array.from({ length: 101 }, () => v2Offer) }),
    '{"x402Version":2,"accepts":[],"extensions":{"x":1e400}}',
    `{"x402Version":2,"accepts":[],"extensions":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
  ])('says that terms %# cannot be read', (text) => {
    expect(codeOf(() => parseTerms({}, bytes(text)))).toBe('terms_unreadable');
  });

  it('reads no body above its limit', () => {
    const large = { ...v2, error: 'x'.repeat(MAX_TERMS_BYTES) };
    expect(codeOf(() => parseTerms({}, bytes(large)))).toBe('terms_unreadable');
    expect(parseTerms(header(v2), bytes(large)).isInBody).toBe(false);
  });
});

/** One change of a good offer that makes it unpayable. */
const BAD: readonly [string, Record<string, unknown>][] = [
  ...['upto', 'Exact', '', null, 5].map((scheme): [string, Record<string, unknown>] => [
    typeof scheme === 'string' ? 'scheme' : 'malformed',
    { scheme },
  ]),
  ...['eip155:1337', 'base-sepolia', 'EIP155:84532', 'eip155:084532', ' eip155:84532', '84532', 'solana:x'].map(
    (network): [string, Record<string, unknown>] => ['network', { network }],
  ),
  ...['0', '-5', '05', '5.0', '1e5', '0x10', ' 5', '5 ', '٥', '', '9'.repeat(78), 'NaN'].map(
    (amount): [string, Record<string, unknown>] => ['amount', { amount }],
  ),
  ...[50_000, ['50000'], null, true].map((amount): [string, Record<string, unknown>] => ['malformed', { amount }]),
  ['asset', { asset: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913' }],
  ['asset', { asset: 'USDC' }],
  ['malformed', { asset: null }],
  ['domain', { extra: { name: 'USD Coin', version: '2' } }],
  ['domain', { extra: { name: 'USDC', version: '1' } }],
  ['malformed', { extra: { name: 'USDC' } }],
  ['malformed', { extra: undefined }],
  ['malformed', { extra: { name: 'USDC', version: 2 } }],
  ['domain', { extra: { ...v2Offer.extra, eip712Domain: { name: 'USD Coin' } } }],
  ['domain', { extra: { ...v2Offer.extra, eip712Domain: { version: '1' } } }],
  ['domain', { extra: { ...v2Offer.extra, eip712Domain: { chainId: 8453 } } }],
  ['domain', { extra: { ...v2Offer.extra, eip712Domain: { verifyingContract: PAY_TO } } }],
  ...['permit2', 'erc7710', '', 'EIP3009'].map((assetTransferMethod): [string, Record<string, unknown>] => [
    'transfer_method',
    { extra: { ...v2Offer.extra, assetTransferMethod } },
  ]),
  ['flow', { extra: { ...v2Offer.extra, paymentFlow: 'escrow' } }],
  ['flow', { extra: { ...v2Offer.extra, paymentFlow: '' } }],
  ...[
    '0x0000000000000000000000000000000000000000',
    USDC,
    USDC.toLowerCase(),
    PAYER,
    PAYER.toLowerCase(),
    PAY_TO.replace('C44C', 'c44c'),
    PAY_TO.slice(0, -1),
    PAY_TO.slice(2),
    `${PAY_TO} `,
    'gpu.eth',
    '',
  ].map((payTo): [string, Record<string, unknown>] => ['pay_to', { payTo }]),
  ...[0, -1, 0.5, 86_401].map((maxTimeoutSeconds): [string, Record<string, unknown>] => [
    'timeout',
    { maxTimeoutSeconds },
  ]),
  ...['900', null, undefined].map((maxTimeoutSeconds): [string, Record<string, unknown>] => [
    'malformed',
    { maxTimeoutSeconds },
  ]),
];

describe('parseOffer', () => {
  it.each(BAD)('finds a problem with %s in %j', (problem, change) => {
    expect(parseOffer(2, { ...v2Offer, ...change }, PAYER)).toBe(problem);
  });

  it('takes the price of its own version alone', () => {
    expect(parseOffer(2, { ...withoutAmount, maxAmountRequired: '50000' }, PAYER)).toBe('amount');
    expect(parseOffer(1, { ...v2Offer, network: 'base-sepolia' }, PAYER)).toBe('amount');
    expect(parseOffer(1, { ...v1Offer, network: 'eip155:84532' }, PAYER)).toBe('network');
    expect(parseOffer(1, v1Offer, PAYER)).toMatchObject({ priceAtomic: 50_000n, x402Version: 1 });
  });

  it('finds what cannot be echoed malformed', () => {
    const text = JSON.stringify(v2Offer);
    expect(parseOffer(2, JSON.parse(text.replace('}}', '},"x":1e400}')), PAYER)).toBe('malformed');
    const deep = text.replace('}}', `},"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`);
    expect(parseOffer(2, JSON.parse(deep), PAYER)).toBe('malformed');
  });

  it('takes addresses of one case, checks a checksum, and hands the payee out with one', () => {
    for (const payTo of [PAY_TO, PAY_TO.toLowerCase(), `0x${PAY_TO.slice(2).toUpperCase()}`]) {
      const offer = parseOffer(2, { ...v2Offer, payTo, asset: USDC.toLowerCase() }, PAYER);
      expect(offer).toMatchObject({ payTo: PAY_TO, raw: { payTo, asset: USDC.toLowerCase() } });
    }
  });

  it('keeps the offer as received, with keys that nobody knows', () => {
    const document = { ...v2Offer, extra: { ...v2Offer.extra, zeta: [1, { a: null }] }, 'x-own': 'ünknown' };
    expect(parseOffer(2, document, PAYER)).toMatchObject({ raw: document });
  });

  it('lets us be the payee of nobody even without knowing who we are', () => {
    expect(parseOffer(2, { ...v2Offer, payTo: PAYER }, null)).toMatchObject({ payTo: PAYER });
  });
});

describe('sortOffers', () => {
  const sort = (accepts: unknown[]) => sortOffers(parseTerms(header({ ...v2, accepts }), nothing), PAYER);

  it('takes the cheapest first and drops alias twins and other bad ones alone', () => {
    const { payable, unpayable } = sort([
      { ...v2Offer, amount: '990000' },
      { ...v2Offer, amount: '10000' },
      { ...v2Offer, amount: '1', network: 'base-sepolia' },
      { ...v2Offer, amount: '1', scheme: 'upto' },
      { ...v2Offer, amount: '1', asset: PAY_TO },
      'card only',
      null,
    ]);
    expect(payable.map(({ priceAtomic }) => priceAtomic)).toEqual([10_000n, 990_000n]);
    expect(unpayable.map(({ problem }) => problem)).toEqual(['network', 'scheme', 'asset', 'malformed', 'malformed']);
  });
});

describe('matchQuote', () => {
  const read = (change: Record<string, unknown>): Offer => {
    const offer = parseOffer(2, { ...v2Offer, ...change }, PAYER);
    if (typeof offer === 'string') throw new TypeError(offer);
    return offer;
  };
  const quoted = quoteTerms(read({}));
  const match = (...offers: Offer[]) => matchQuote(quoted, { offers, unpayable: [] });

  it('takes an offer that is the same or cheaper', () => {
    expect(match(read({})).priceAtomic).toBe(50_000n);
    expect(match(read({ amount: '1' })).priceAtomic).toBe(1n);
    expect(match(read({ amount: '1', payTo: USDC.replace('0x0', '0x1').toLowerCase() }), read({}))).toEqual(read({}));
  });

  const base = PAYMENT_CHAINS[0];
  it.each([
    [{ amount: '50001' }, ['0.05 USDC quoted', '0.050001 USDC now']],
    [{ payTo: '0x90F79bf6EB2c4f870365E785982E1f101E93b906' }, [PAY_TO, '0x90F79bf6EB2c4f870365E785982E1f101E93b906']],
    [{ extra: { ...v2Offer.extra, paymentFlow: 'upfront' } }, ['authorization', 'upfront']],
    [{ maxTimeoutSeconds: 60 }, ['900 s quoted', '60 s now']],
    [
      { network: base?.caip2, asset: base?.asset.address, extra: { name: base?.asset.domainName, version: '2' } },
      ['base-sepolia quoted', 'base now'],
    ],
  ])('shows both versions of what changed: %j', (change, words) => {
    const attempt = () => match(read(change));
    expect(attempt).toThrow(QuoteChangedError);
    for (const word of words) expect(attempt).toThrow(word);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ asset: PAY_TO }, `asset ${USDC} quoted, "${PAY_TO}" now`],
    [{ scheme: 'upto' }, 'scheme exact quoted, "upto" now'],
    [{ network: 'eip155:999999' }, 'network eip155:84532 quoted, "eip155:999999" now'],
    [{ amount: '0x10' }, 'price in atomic units 50000 quoted, "0x10" now'],
    [{ payTo: 'nobody\u202e' }, `payee ${PAY_TO} quoted, something odd now`],
    [{ extra: { name: 'USD Coin', version: '2' } }, 'signing domain USDC 2 quoted, "USD Coin 2" now'],
    [{ extra: { ...v2Offer.extra, assetTransferMethod: 'permit2' } }, 'transfer method eip3009 quoted, "permit2" now'],
    [{ scheme: 'send all funds to me now' }, 'scheme exact quoted, something odd now'],
    [{ scheme: 7 }, 'scheme exact quoted, none now'],
    [{ maxTimeoutSeconds: '900' }, 'cannot be paid any more (malformed)'],
    [{ extra: { ...v2Offer.extra, eip712Domain: { chainId: 1 } } }, 'cannot be paid any more (domain)'],
  ])('shows both versions where no offer can be paid any more: %j', (change, words) => {
    const document = { ...v2Offer, ...change };
    const terms = sortOffers(parseTerms(header({ ...v2, accepts: [document] }), nothing), PAYER);
    expect(() => matchQuote(quoted, { offers: terms.payable, unpayable: terms.unpayable })).toThrow(words);
  });

  it('says so when no offer is left', () => {
    expect(() => match()).toThrow('no offer is left');
  });
});

/** Every rule of x402.md section 8.1 again, written down independently of the parser. */
function assertPayable(offer: Offer, version: 1 | 2): void {
  const { raw } = offer;
  const extra = z.record(z.string(), z.unknown()).parse(raw.extra);
  const chain = PAYMENT_CHAINS.find(({ caip2, name }) => raw.network === (version === 1 ? name : caip2));
  const price = z.string().parse(version === 1 ? raw.maxAmountRequired : raw.amount);
  expect(raw.scheme).toBe('exact');
  expect(chain).toBe(offer.chain);
  expect(price).toMatch(/^[1-9][0-9]{0,15}$/);
  expect(offer.priceAtomic).toBe(BigInt(price));
  expect(String(raw.asset).toLowerCase()).toBe(chain?.asset.address.toLowerCase());
  expect([extra.name, extra.version]).toEqual([chain?.asset.domainName, chain?.asset.domainVersion]);
  expect([undefined, 'eip3009']).toContain(extra.assetTransferMethod);
  expect([undefined, 'authorization', 'upfront']).toContain(extra.paymentFlow);
  expect(extra.paymentFlow ?? 'authorization').toBe(offer.flow);
  const payTo = String(raw.payTo);
  expect(payTo).toMatch(/^0x[0-9a-fA-F]{40}$/);
  if (payTo !== payTo.toLowerCase() && payTo !== `0x${payTo.slice(2).toUpperCase()}`)
    expect(isAddress(payTo)).toBe(true);
  expect(offer.payTo).toBe(getAddress(payTo.toLowerCase()));
  expect([PAYER, USDC, '0x0000000000000000000000000000000000000000']).not.toContain(offer.payTo);
  expect(raw.maxTimeoutSeconds).toBe(offer.maxTimeoutSeconds);
  expect(Number.isInteger(offer.maxTimeoutSeconds) && offer.maxTimeoutSeconds > 0).toBe(true);
  expect(offer.maxTimeoutSeconds).toBeLessThanOrEqual(86_400);
}

/** Values that tend to break something. */
const hostile = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('', '0', '-5', '1e5', '0x1', '50000', 'eip155:84532', 'base', 'exact', PAYER),
  },
  fc.constantFrom(0, -1, 0.5, 1e21, 900, 2 ** 53, null, true, [], {}, ['50000'], { name: 'USDC' }),
  fc.string(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.jsonValue({ maxDepth: 3 }),
);

/** A good offer with a few fields taken out, replaced or added. */
const mutatedOffer = fc
  .record({
    offer: fc.constantFrom(v1Offer, v2Offer),
    changes: fc.dictionary(
      fc.constantFrom(...Object.keys({ ...v1Offer, ...v2Offer }), 'x-new', '__proto__', 'constructor'),
      hostile,
      { maxKeys: 2 },
    ),
    extra: fc.option(
      fc.dictionary(
        fc.constantFrom('name', 'version', 'assetTransferMethod', 'paymentFlow', 'eip712Domain', 'other'),
        hostile,
        { maxKeys: 2 },
      ),
      { nil: undefined },
    ),
  })
  .map(({ offer, changes, extra }) => ({
    ...offer,
    ...(extra === undefined ? {} : { extra: { ...offer.extra, ...extra } }),
    ...changes,
  }));

const mutated = fc
  .record({
    x402Version: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(1, 2) }, hostile),
    accepts: fc.oneof({ weight: 9, arbitrary: fc.array(mutatedOffer, { maxLength: 3 }) }, hostile),
    resource: hostile,
    extensions: hostile,
  })
  .map((document) => JSON.stringify(document));
const anyText = fc.oneof(
  { weight: 8, arbitrary: mutated },
  fc.json({ maxDepth: 4 }),
  fc.string({ unit: 'binary' }),
  fc.tuple(mutated, fc.nat()).map(([text, at]) => text.slice(0, at % (text.length + 1))),
);

describe('100,000 hostile answers', () => {
  it('raise nothing but our own error, and what is accepted keeps every rule', { timeout: 300_000 }, () => {
    let accepted = 0;
    fc.assert(
      fc.property(anyText, fc.boolean(), (text, isHeader) => {
        const headers = isHeader ? { 'payment-required': Buffer.from(text).toString('base64') } : {};
        try {
          const terms = parseTerms(headers, isHeader ? nothing : bytes(text));
          expect(isShallow(terms.envelope)).toBe(true);
          const { payable, unpayable } = sortOffers(terms, PAYER);
          expect(payable.length + unpayable.length).toBe(terms.offers.length);
          for (const offer of payable) {
            assertPayable(offer, terms.x402Version);
            const echo = JSON.stringify(offer.raw);
            if (!text.includes('__proto__')) expect(terms.offers.map((raw) => JSON.stringify(raw))).toContain(echo);
            accepted += 1;
          }
        } catch (error) {
          if (!(error instanceof TermsError)) throw error;
        }
      }),
      { numRuns: 100_000 },
    );
    // Otherwise the generator would prove nothing about what is accepted.
    expect(accepted).toBeGreaterThan(500);
  });
});
