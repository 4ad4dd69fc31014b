import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { PAYMENT_CHAINS, type PaymentChain } from '../base/chains.ts';
import { JsonObject } from '../base/json.ts';
import { atomicUsdc } from '../base/money.ts';
import type { StoredTerms } from './attempt.ts';
import { createPaymentHeader } from './authorize.ts';
import { GuardError, SigningGuard } from './guard.ts';
import type { JournaledIntent, PaymentIntent } from './intent.ts';
import { parseOffer } from './offer.ts';

// Public development account 1 of anvil: test chains only.
const account = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');
const PAY_TO = '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC';
const NOW = 1_790_000_000;
const nonce = `0x${'5a'.repeat(32)}` as const;

/** Stands for the journal: only it brands intents otherwise. */
function isJournaled(_intent: PaymentIntent): _intent is JournaledIntent {
  return true;
}

function journaled(chain: PaymentChain, change: Partial<PaymentIntent> = {}): JournaledIntent {
  const intent: PaymentIntent = {
    experimentId: 'exp-20261126-0123456789abcdef',
    attempt: 1,
    chain,
    payer: account.address,
    payTo: PAY_TO,
    valueAtomic: atomicUsdc(50_000),
    validBefore: NOW + 420,
    nonce,
    ...change,
  };
  if (!isJournaled(intent)) throw new TypeError('unreachable');
  return intent;
}

function createGuard() {
  let signatures = 0;
  const guard = new SigningGuard(
    {
      address: account.address,
      signTransfer: (data) => {
        signatures += 1;
        return account.signTypedData(data);
      },
      signText: () => expect.unreachable('a payment needs no sign-in'),
      signFeedback: () => expect.unreachable('a payment is no feedback'),
    },
    { maxPriceAtomic: 250_000n, maxValiditySeconds: 1_800 },
    { nowMs: () => NOW * 1_000 },
  );
  return { guard, countSignatures: () => signatures };
}

/** An offer as a gate of the version makes it, with keys that the SDK does not know. */
function buildTerms(chain: PaymentChain, x402Version: 1 | 2): StoredTerms {
  const { asset } = chain;
  const shared = {
    scheme: 'exact',
    asset: asset.address.toLowerCase(),
    payTo: PAY_TO,
    maxTimeoutSeconds: 900,
    extra: { name: asset.domainName, version: asset.domainVersion, ownKey: { a: [1] } },
    'x-unknown': 'kept',
  };
  const network = x402Version === 1 ? chain.name : chain.caip2;
  const offer: JsonObject =
    x402Version === 1
      ? {
          ...shared,
          network,
          maxAmountRequired: '50000',
          resource: 'https://w.example/e',
          description: '',
          mimeType: '',
        }
      : { ...shared, network, amount: '50000' };
  const envelope: JsonObject =
    x402Version === 1
      ? { x402Version, error: 'X-PAYMENT header is required' }
      : {
          x402Version,
          error: 'Payment required',
          resource: { url: 'https://w.example/e', description: 'run', mimeType: '' },
          extensions: { other: { info: { a: 1 }, schema: {} } },
        };
  return { x402Version, network, flow: 'authorization', isInBody: false, envelope, offer };
}

const decode = (value: string) => JsonObject.parse(JSON.parse(Buffer.from(value, 'base64').toString('utf8')));
const Signed = z.looseObject({ signature: z.string() });

const authorization = {
  from: account.address,
  to: PAY_TO,
  value: '50000',
  validAfter: '0',
  validBefore: String(NOW + 420),
  nonce,
};

describe('createPaymentHeader', () => {
  it.each(PAYMENT_CHAINS)('pays a v2 offer on $name and echoes it as received', async (chain) => {
    const { guard, countSignatures } = createGuard();
    const terms = buildTerms(chain, 2);
    const header = await createPaymentHeader(guard, journaled(chain), terms);
    expect(header.name).toBe('PAYMENT-SIGNATURE');
    expect(header.value).toMatch(/^[A-Za-z0-9+/]+={0,2}$/);
    const payment = decode(header.value);
    expect(payment.x402Version).toBe(2);
    expect(payment.accepted).toEqual(terms.offer);
    expect(payment.resource).toEqual(terms.envelope.resource);
    expect(payment.extensions).toEqual(terms.envelope.extensions);
    expect(payment.payload).toMatchObject({ authorization });
    expect(Signed.parse(payment.payload).signature).toMatch(/^0x[0-9a-f]{128}1[bc]$/);
    expect(countSignatures()).toBe(1);
  });

  it.each(PAYMENT_CHAINS)(
    'pays a v1 offer on $name, or finds it unpayable before anything is reserved',
    async (chain) => {
      const { guard } = createGuard();
      const terms = buildTerms(chain, 1);
      const paying = createPaymentHeader(guard, journaled(chain), terms);
      if (parseOffer(1, terms.offer, null) === 'network') return expect(paying).rejects.toThrow(GuardError);
      const header = await paying;
      expect(header.name).toBe('X-PAYMENT');
      const payment = decode(header.value);
      expect(Object.keys(payment).sort()).toEqual(['network', 'payload', 'scheme', 'x402Version']);
      expect(payment).toMatchObject({
        x402Version: 1,
        scheme: 'exact',
        network: chain.name,
        payload: { authorization },
      });
    },
  );

  it('makes the same header every time: after a crash the very same payment is signed again', async () => {
    const chain = PAYMENT_CHAINS[1] ?? expect.unreachable();
    const { guard } = createGuard();
    const headers = await Promise.all(
      Array.from({ length: 3 }, () => createPaymentHeader(guard, journaled(chain), buildTerms(chain, 2))),
    );
    expect(new Set(headers.map(({ value }) => value)).size).toBe(1);
  });

  const sepolia = PAYMENT_CHAINS[1];
  const good = sepolia ? buildTerms(sepolia, 2) : expect.unreachable();
  it.each<[string, StoredTerms]>([
    ['price', { ...good, offer: { ...good.offer, amount: '50001' } }],
    ['cheaper price', { ...good, offer: { ...good.offer, amount: '49999' } }],
    ['payee', { ...good, offer: { ...good.offer, payTo: '0x90F79bf6EB2c4f870365E785982E1f101E93b906' } }],
    ['network', { ...good, network: 'eip155:8453', offer: { ...good.offer, network: 'eip155:8453' } }],
    ['asset', { ...good, offer: { ...good.offer, asset: PAY_TO } }],
    ['scheme', { ...good, offer: { ...good.offer, scheme: 'upto' } }],
    ['version', { ...good, x402Version: 1 }],
    ['amount of no text', { ...good, offer: { ...good.offer, amount: 50_000 } }],
  ])('signs nothing when the journaled offer has another %s than the intent', async (_name, terms) => {
    const { guard, countSignatures } = createGuard();
    const chain = PAYMENT_CHAINS[1] ?? expect.unreachable();
    await expect(createPaymentHeader(guard, journaled(chain), terms)).rejects.toThrow(GuardError);
    expect(countSignatures()).toBe(0);
  });
});
