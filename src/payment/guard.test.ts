import { hashTypedData, recoverTypedDataAddress } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import { findChain } from '../base/chains.ts';
import { atomicUsdc } from '../base/money.ts';
import { buildTransferData, GuardError, type KeyHolder, SigningGuard, type TransferTypedData } from './guard.ts';
import type { JournaledIntent, PaymentIntent } from './intent.ts';

// Public development accounts of anvil (x402.md section 2.4): test chains only.
const KEY = '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d';
const OTHER_KEY = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';
const account = privateKeyToAccount(KEY);
const sepolia = findChain('base-sepolia');
if (!sepolia) throw new TypeError('the table has Base Sepolia');

/** Stands for the journal: only it brands intents otherwise. */
function isJournaled(_intent: PaymentIntent): _intent is JournaledIntent {
  return true;
}

function journaled(change: Partial<PaymentIntent> = {}): JournaledIntent {
  const intent: PaymentIntent = {
    experimentId: 'exp-20261126-0123456789abcdef',
    attempt: 1,
    chain: sepolia ?? missing(),
    payer: account.address,
    payTo: '0x209693Bc6afc0C5328bA36FaF03C514EF312287C',
    valueAtomic: atomicUsdc(10_000),
    validBefore: 1_740_672_154,
    nonce: '0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480',
    ...change,
  };
  if (!isJournaled(intent)) missing();
  return intent;
}

function missing(): never {
  throw new TypeError('unreachable');
}

/** A key holder that keeps what it was asked to sign. */
function createHolder(sign: (data: TransferTypedData) => Promise<string> = (data) => account.signTypedData(data)) {
  const asked: TransferTypedData[] = [];
  const holder: KeyHolder = {
    address: account.address,
    signTransfer: async (data) => {
      asked.push(data);
      const answer = await sign(data);
      return `0x${answer.replace(/^0x/, '')}`;
    },
    signText: () => expect.unreachable('a payment needs no sign-in'),
    signFeedback: () => expect.unreachable('a payment is no feedback'),
  };
  return { asked, holder };
}

const limits = { maxPriceAtomic: 250_000n, maxValiditySeconds: 1_800 };
const clock = (unixSeconds = 1_740_672_089) => ({ nowMs: () => unixSeconds * 1_000 });

async function refusalOf(signing: Promise<unknown>): Promise<string> {
  const outcome = await signing.then(
    () => 'signed',
    (error: unknown) => error,
  );
  if (!(outcome instanceof GuardError)) throw new Error('no GuardError was thrown', { cause: outcome });
  expect(outcome.message).not.toMatch(/0x[0-9a-f]{65}/i);
  return outcome.code;
}

/** The vectors of x402.md section 2.4 have a `validAfter`, which we always set to 0. */
function withValidAfter(intent: JournaledIntent): TransferTypedData {
  const data = buildTransferData(intent);
  return { ...data, message: { ...data.message, validAfter: 1_740_672_089n } };
}

describe('buildTransferData', () => {
  it('gives the digest of the published vector A, whose signature recovers to its payer', async () => {
    const data = withValidAfter(journaled({ payer: '0x857b06519E91e3A54538791bDbb0E22373e36b66' }));
    expect(hashTypedData(data)).toBe('0xf256992871671abcb27ff92885a7afa46218724e5fc0bac35d050115aa1d22e6');
    const signature =
      '0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c';
    const payer = '0x857b06519E91e3A54538791bDbb0E22373e36b66';
    await expect(recoverTypedDataAddress({ ...data, signature })).resolves.toBe(payer);
    const misnamed = { ...data, domain: { ...data.domain, name: 'USD Coin' } };
    await expect(recoverTypedDataAddress({ ...misnamed, signature })).resolves.toBe(
      '0xED07B31Fa76779c7A25BA712fB1bFBECefa2ad7e',
    );
  });

  it('gives digest and signature of vector B', async () => {
    const data = withValidAfter(journaled());
    expect(hashTypedData(data)).toBe('0x7b608a4b969db6725f5373740b7811350cd1148db1b903276958fa2a718326ba');
    await expect(account.signTypedData(data)).resolves.toBe(
      '0xeae36c169c193ec4791b48a3d469bd0ff9f9b2edef5c1349bedcd0c501c3cff2006d0788285d4a884321fabe5a8428887c3581a82f1b32eeb2ea1011413746901c',
    );
  });

  it('takes the whole domain from our table', () => {
    expect(buildTransferData(journaled()).domain).toEqual({
      name: 'USDC',
      version: '2',
      chainId: 84_532,
      verifyingContract: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
    });
  });
});

describe('SigningGuard', () => {
  it('asks the key for exactly the journaled transfer, once', async () => {
    const { asked, holder } = createHolder();
    const intent = journaled();
    const signature = await new SigningGuard(holder, limits, clock()).sign(intent);
    expect(asked).toEqual([buildTransferData(intent)]);
    expect(asked[0]?.message).toEqual({
      from: account.address,
      to: intent.payTo,
      value: 10_000n,
      validAfter: 0n,
      validBefore: 1_740_672_154n,
      nonce: intent.nonce,
    });
    await expect(recoverTypedDataAddress({ ...buildTransferData(intent), signature })).resolves.toBe(account.address);
  });

  it('signs at the very limits', async () => {
    const { asked, holder } = createHolder();
    const guard = new SigningGuard(holder, { maxPriceAtomic: 10_000n, maxValiditySeconds: 65 }, clock());
    await guard.sign(journaled());
    expect(asked).toHaveLength(1);
  });

  it.each([
    ['another payer', 'wrong_payer', { payer: '0x209693Bc6afc0C5328bA36FaF03C514EF312287C' }, {}],
    ['a price above the cap', 'over_cap', { valueAtomic: atomicUsdc(250_001) }, {}],
    ['a price of nothing', 'over_cap', { valueAtomic: atomicUsdc(0) }, {}],
    ['a window that has closed', 'validity', { validBefore: 1_740_672_089 }, {}],
    ['a window of ten years', 'validity', { validBefore: 2_056_032_089 }, {}],
    ['a window beyond the cap', 'validity', {}, { maxValiditySeconds: 60 }],
    ['a cap of nothing', 'over_cap', {}, { maxPriceAtomic: 0n }],
  ] as const)('does not even ask the key for %s', async (_name, code, change, limit) => {
    const { asked, holder } = createHolder();
    const guard = new SigningGuard(holder, { ...limits, ...limit }, clock());
    await expect(refusalOf(guard.sign(journaled(change)))).resolves.toBe(code);
    expect(asked).toEqual([]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1_740_672_100.5])(
    'signs no window that ends at %s',
    async (validBefore) => {
      const { asked, holder } = createHolder();
      const guard = new SigningGuard(holder, limits, clock());
      await expect(refusalOf(guard.sign(journaled({ validBefore })))).resolves.toBe('validity');
      expect(asked).toEqual([]);
    },
  );

  it('throws a signature away that came back after the window has closed', async () => {
    let now = 1_740_672_089;
    const { asked, holder } = createHolder(async (data) => {
      now += 100;
      return account.signTypedData(data);
    });
    const guard = new SigningGuard(holder, limits, { nowMs: () => now * 1_000 });
    await expect(refusalOf(guard.sign(journaled()))).resolves.toBe('validity');
    expect(asked).toHaveLength(1);
  });

  const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
  const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

  it.each([
    ['1b', '00'],
    ['1c', '01'],
  ])('brings the %s of an old signer to its place', async (v, old) => {
    // Nonces are tried until one has the wanted parity: both forms must occur.
    for (let index = 0; index < 64; index += 1) {
      const intent = journaled({ nonce: `0x${index.toString(16).padStart(64, '0')}` });
      const plain = await account.signTypedData(buildTransferData(intent));
      if (!plain.endsWith(v)) continue;
      const { holder } = createHolder(async () => plain.slice(0, -2) + old);
      await expect(new SigningGuard(holder, limits, clock()).sign(intent)).resolves.toBe(plain);
      return;
    }
    expect.unreachable();
  });

  const malleable = (signature: string): string => {
    const s = ORDER - BigInt(`0x${signature.slice(66, 130)}`);
    expect(s).toBeGreaterThan(HALF_ORDER);
    return `${signature.slice(0, 66)}${s.toString(16).padStart(64, '0')}${signature.endsWith('1b') ? '1c' : '1b'}`;
  };
  it.each<[string, (signature: string) => string | Promise<string>]>([
    ['is malleable', malleable],
    ['has 64 bytes', (signature) => signature.slice(0, 130)],
    ['has 66 bytes', (signature) => `${signature}00`],
    ['is empty', () => '0x'],
    ['is no hex', (signature) => signature.replace(/.$/, 'g')],
    ['ends in a line', (signature) => `${signature}\n`],
    ['has another recovery value', (signature) => `${signature.slice(0, 130)}1d`],
    ['has a recovery value of EIP-155', (signature) => `${signature.slice(0, 130)}25`],
    ['is made of zeros', () => `0x${'00'.repeat(64)}1b`],
    ['has the other parity', (signature) => signature.slice(0, 130) + (signature.endsWith('1b') ? '1c' : '1b')],
    ['is by another key', () => privateKeyToAccount(OTHER_KEY).signTypedData(buildTransferData(journaled()))],
    [
      'is about another price',
      () => account.signTypedData(buildTransferData(journaled({ valueAtomic: atomicUsdc(250_000) }))),
    ],
  ])('refuses a signature that %s', async (_name, change) => {
    const { holder } = createHolder(async (data) => change(await account.signTypedData(data)));
    const guard = new SigningGuard(holder, limits, clock());
    await expect(refusalOf(guard.sign(journaled()))).resolves.toBe('bad_signature');
  });

  it('lets the error of a key holder through as it is', async () => {
    const { holder } = createHolder(() => Promise.reject(new Error('away')));
    await expect(new SigningGuard(holder, limits, clock()).sign(journaled())).rejects.toThrow('away');
  });
});
