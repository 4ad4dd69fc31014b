// What a store is filled with in tests; light enough for processes that start often.
import { findChain } from '../src/base/chains.ts';
import { sha256, sha256ToBytes32 } from '../src/base/hash.ts';
import { atomicUsdc } from '../src/base/money.ts';
import type { StoredTerms } from '../src/payment/attempt.ts';
import type { PaymentIntent } from '../src/payment/intent.ts';

export const SOURCE = 'print("val_bpb: 1.0")\n';

/** An experiment id that tests can count. */
export function experimentIdOf(index: number): string {
  return `exp-20261126-${index.toString(16).padStart(16, '0')}`;
}

/** An intent that keeps every rule, of one attempt. */
export function buildIntent(experimentId: string, attempt: number, valueAtomic = 50_000): PaymentIntent {
  const chain = findChain('base-sepolia');
  if (!chain) throw new TypeError('the table has Base Sepolia');
  return {
    experimentId,
    attempt,
    chain,
    payer: '0x70997970C51812dc3A010C7d01b50e0d17dc79C8',
    payTo: '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC',
    valueAtomic: atomicUsdc(valueAtomic),
    validBefore: 1_790_000_420,
    nonce: sha256ToBytes32(sha256(`${experimentId}/${attempt}`)),
  };
}

export const TERMS: StoredTerms = {
  x402Version: 2,
  network: 'eip155:84532',
  flow: 'authorization',
  isInBody: false,
  envelope: { x402Version: 2 },
  offer: { scheme: 'exact', amount: '50000' },
};

export const TARGET = { workerEndpoint: 'https://w.example', workerId: null, loopId: null } as const;
