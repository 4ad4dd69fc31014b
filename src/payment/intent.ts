import type { Hex } from 'viem';
import type { PaymentChain } from '../base/chains.ts';
import type { AtomicUsdc } from '../base/money.ts';

declare const journaledBrand: unique symbol;

/** What one authorization is to say. */
export interface PaymentIntent {
  readonly experimentId: string;
  readonly attempt: number;
  readonly chain: PaymentChain;
  readonly payer: `0x${string}`;
  readonly payTo: `0x${string}`;
  readonly valueAtomic: AtomicUsdc;
  /** Unix seconds. */
  readonly validBefore: number;
  readonly nonce: Hex;
}

/**
 * An intent that is on disk. Only the journal makes one, after its transaction is committed with fsync, and only such
 * an intent can be signed (invariant 1).
 */
export type JournaledIntent = PaymentIntent & { readonly [journaledBrand]: true };

declare const signedBrand: unique symbol;

/** A payment header that is on disk: the only kind that can be sent (invariant 1). A bearer instrument, never shown. */
export type JournaledHeader = { readonly name: 'PAYMENT-SIGNATURE' | 'X-PAYMENT'; readonly value: string } & {
  readonly [signedBrand]: true;
};
