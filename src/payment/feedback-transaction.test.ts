import { type Hex, keccak256, parseTransaction, serializeTransaction, toHex } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import { REGISTRIES } from '../base/chains.ts';
import {
  buildFeedbackTransaction,
  encodeFeedback,
  type FeedbackCall,
  type FeedbackPlan,
  type FeedbackTransaction,
  type JournaledFeedback,
} from './feedback-transaction.ts';
import { GuardError, SigningGuard } from './guard.ts';
import { formatCoin } from './native-coin.ts';

const account = privateKeyToAccount(generatePrivateKey());
const other = privateKeyToAccount(generatePrivateKey());
const bytes = Buffer.from('{"value":100}');
const call: FeedbackCall = {
  agentId: 0n,
  value: 100n,
  endpoint: 'https://w.example/experiment',
  feedbackUri: `data:application/json;base64,${bytes.toString('base64')}`,
  feedbackHash: keccak256(bytes),
};

function isJournaled(_plan: FeedbackPlan): _plan is JournaledFeedback {
  return true;
}

function createPlan(changes: Partial<FeedbackPlan> = {}): JournaledFeedback {
  const plan: FeedbackPlan = {
    experimentId: 'exp-20260901-0123456789abcdef',
    chainId: 84_532,
    client: account.address,
    call,
    nonce: 0,
    gasLimit: 250_000n,
    maxFeePerGas: 2_000_000_000n,
    maxPriorityFeePerGas: 1_000_000_000n,
    ...changes,
  };
  if (!isJournaled(plan)) throw new TypeError('unreachable');
  return plan;
}

type Sign = (transaction: FeedbackTransaction) => Promise<string>;

/** A guard over a key holder that keeps what it was asked to sign. */
function createGuard(sign: Sign = (transaction) => account.signTransaction(transaction)) {
  const asked: FeedbackTransaction[] = [];
  const holder = {
    address: account.address,
    signTransfer: () => expect.unreachable('feedback is no payment'),
    signText: () => expect.unreachable('feedback is no sign-in'),
    signFeedback: async (transaction: FeedbackTransaction): Promise<Hex> => {
      asked.push(transaction);
      return `0x${(await sign(transaction)).replace(/^0x/, '')}`;
    },
  };
  const limits = { maxPriceAtomic: 1n, maxValiditySeconds: 60 };
  return { guard: new SigningGuard(holder, limits, { nowMs: () => 0 }), asked };
}

async function refusalOf(signing: Promise<unknown>): Promise<string> {
  const error: unknown = await signing.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof GuardError)) throw new Error(`the guard did not refuse: ${String(error)}`);
  return error.code;
}

describe('the guard', () => {
  it('signs a feedback: no value, to the pinned registry, with the encoding of its own call', async () => {
    const { guard, asked } = createGuard();
    const { raw, tx } = await guard.signFeedback(createPlan({ nonce: 7 }));
    expect(asked).toHaveLength(1);
    const read = parseTransaction(toRaw(raw));
    expect(read).toMatchObject({
      type: 'eip1559',
      chainId: 84_532,
      to: REGISTRIES.testnet.reputation.toLowerCase(),
      nonce: 7,
      gas: 250_000n,
      data: encodeFeedback(call),
    });
    expect(read.value ?? 0n).toBe(0n);
    expect(read.accessList ?? []).toEqual([]);
    expect(tx).toBe(keccak256(raw));
    // The selector of the reference registry (erc8004.md section 6).
    expect(encodeFeedback(call)).toMatch(/^0x3c036a7e/);
  });

  it('takes the registry of the chain', () => {
    expect(buildFeedbackTransaction(createPlan({ chainId: 8453 })).to).toBe(REGISTRIES.mainnet.reputation);
    expect(() => buildFeedbackTransaction(createPlan({ chainId: 31_337 }))).toThrow(TypeError);
  });

  it.each<[string, Partial<FeedbackPlan>, string]>([
    ['for another key', { client: other.address }, 'wrong_payer'],
    ['on a chain without a registry', { chainId: 31_337 }, 'bad_feedback'],
    ['of more than 100 points', { call: { ...call, value: 101n } }, 'bad_feedback'],
    ['of less than none', { call: { ...call, value: -1n } }, 'bad_feedback'],
    ['about no agent', { call: { ...call, agentId: 2n ** 256n } }, 'bad_feedback'],
    ['with the hash of another file', { call: { ...call, feedbackHash: keccak256('0x00') } }, 'bad_feedback'],
    ['with a file elsewhere', { call: { ...call, feedbackUri: 'https://w.example/f' } }, 'bad_feedback'],
    ['with a long endpoint', { call: { ...call, endpoint: 'x'.repeat(3_000) } }, 'bad_feedback'],
    ['with a negative number', { nonce: -1 }, 'bad_feedback'],
    ['with too much gas', { gasLimit: 2_000_001n, maxFeePerGas: 1n, maxPriorityFeePerGas: 1n }, 'over_gas_cap'],
    ['with dear gas', { maxFeePerGas: 10n ** 15n }, 'over_gas_cap'],
    ['with no gas', { gasLimit: 0n }, 'over_gas_cap'],
    ['with a tip above its fee', { maxPriorityFeePerGas: 2_000_000_001n }, 'over_gas_cap'],
  ])('refuses a feedback %s, and nobody is asked to sign', async (_what, changes, code) => {
    const { guard, asked } = createGuard();
    expect(await refusalOf(guard.signFeedback(createPlan(changes)))).toBe(code);
    expect(asked).toEqual([]);
  });

  const instead =
    (changes: object): Sign =>
    (transaction) =>
      account.signTransaction({ ...transaction, ...changes, type: 'eip1559' });
  it.each<[string, Sign]>([
    ['by another key', (transaction) => other.signTransaction(transaction)],
    ['with value', instead({ value: 1n })],
    ['to another contract', instead({ to: REGISTRIES.testnet.identity })],
    ['with other data', instead({ data: encodeFeedback({ ...call, value: 0n }) })],
    ['on another chain', instead({ chainId: 8453 })],
    ['with another number', instead({ nonce: 1 })],
    ['with more gas', instead({ gas: 250_001n })],
    ['with a higher fee', instead({ maxFeePerGas: 2_000_000_001n })],
    ['with a higher tip', instead({ maxPriorityFeePerGas: 1_000_000_001n })],
    ['with an access list', instead({ accessList: [{ address: other.address, storageKeys: [] }] })],
    [
      'of another type',
      ({ chainId, to, nonce, gas, maxFeePerGas, data }) =>
        account.signTransaction({ type: 'legacy', chainId, to, nonce, gas, gasPrice: maxFeePerGas, data }),
    ],
    ['with bytes behind it', async (transaction) => `${await account.signTransaction(transaction)}00`],
    ['without a signature', async (transaction) => serializeTransaction(transaction)],
    ['that is malleable', async (transaction) => malleate(transaction)],
    ['that is none', async () => '0x02c0'],
    ['that is text', async () => 'signed'],
    ['that is empty', async () => ''],
  ])('uses no answer of a signer %s', async (_what, sign) => {
    const { guard, asked } = createGuard(sign);
    expect(await refusalOf(guard.signFeedback(createPlan()))).toBe('bad_signature');
    expect(asked).toHaveLength(1);
  });
});

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** The other valid signature of the same key. */
async function malleate(transaction: FeedbackTransaction): Promise<Hex> {
  const { r, s, yParity } = parseTransaction(toRaw(await account.signTransaction(transaction)));
  if (r === undefined || s === undefined) throw new Error('it is not signed');
  return serializeTransaction(transaction, {
    r,
    s: toHex(ORDER - BigInt(s), { size: 32 }),
    yParity: yParity === 1 ? 0 : 1,
  });
}

function toRaw(raw: Hex): `0x02${string}` {
  return `0x02${raw.slice(4)}`;
}

describe('formatCoin', () => {
  it.each([
    [0n, '0'],
    [1n, '0.000000000000000001'],
    [10n ** 18n, '1'],
    [1_500_000_000_000_000n, '0.0015'],
  ])('spells %s wei exactly', (wei, text) => {
    expect(formatCoin(wei)).toBe(text);
  });
});
