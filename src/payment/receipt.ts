import { decodePaymentRequiredHeader, decodePaymentResponseHeader } from '@x402/core/http';
import * as z from 'zod';
import { cleanUntrusted } from '../base/untrusted.ts';

/** What a worker says about its settlement: unsigned claims, checked on the chain. */
export interface WorkerReceipt {
  readonly isSuccess: boolean;
  /** Well-formed transaction hash, if one was named. */
  readonly tx: string | null;
  /** Error code of the gate, cleaned and capped; open vocabulary (x402.md section 3). */
  readonly untrustedReason: string | null;
}

const Receipt = z.looseObject({
  success: z.boolean(),
  transaction: z.string().optional().catch(undefined),
  errorReason: z.string().nullish().catch(undefined),
});
const Refusal = z.looseObject({ error: z.string() });

const TX = /^0x[0-9a-fA-F]{64}$/;

/** Reads the settlement headers of an answer to a paid request; null when it has none that can be read. */
export function parseReceipt(headers: Readonly<Record<string, string>>): WorkerReceipt | null {
  for (const name of ['payment-response', 'x-payment-response']) {
    const value = headers[name];
    const parsed = Receipt.safeParse(decode(value, decodePaymentResponseHeader));
    if (!parsed.success) continue;
    const { success, transaction, errorReason } = parsed.data;
    return {
      isSuccess: success,
      tx: transaction !== undefined && TX.test(transaction) ? transaction.toLowerCase() : null,
      untrustedReason: cleanUntrusted(errorReason, 200),
    };
  }
  const refusal = Refusal.safeParse(decode(headers['payment-required'], decodePaymentRequiredHeader));
  return refusal.success
    ? { isSuccess: false, tx: null, untrustedReason: cleanUntrusted(refusal.data.error, 200) }
    : null;
}

function decode(value: string | undefined, decoder: (value: string) => unknown): unknown {
  try {
    return value === undefined ? undefined : decoder(value);
  } catch {
    return undefined;
  }
}
