import { decodePaymentRequiredHeader } from '@x402/core/http';
import * as z from 'zod';
import { CoordinatorError } from '../base/errors.ts';
import { isShallow, JsonObject } from '../base/json.ts';
import { formatUsd, isAtomicText, parseAtomic } from '../base/money.ts';

/** The offers of a 402 as received: validated one by one later, echoed to the worker byte by byte. */
export interface PaymentTerms {
  readonly x402Version: 1 | 2;
  /** The whole document without its offers; a payment echoes `resource` and `extensions` of it. */
  readonly envelope: JsonObject;
  readonly offers: readonly unknown[];
  /** The body repeats the terms: gates that do so may read the payment from `X-PAYMENT` alone (worker-api.md section 5). */
  readonly isInBody: boolean;
}

/** A 402 whose terms cannot be paid, whatever their price. */
export class TermsError extends CoordinatorError {
  override readonly name = 'TermsError';
  readonly nextStep = 'Choose another worker: discover_workers lists those that can be paid.';
  constructor(
    readonly code: 'terms_unreadable' | 'terms_flat' | 'no_payable_offer',
    message: string,
  ) {
    super(`${message} Nothing was signed or paid.`);
  }
}

/** The body of a 402 larger than this is not read (x402.md section 8.1), in bytes. */
export const MAX_TERMS_BYTES = 65_536;

const Envelope = z.looseObject({
  x402Version: z.union([z.literal(1), z.literal(2)]),
  accepts: z.array(z.unknown()).max(100),
});
const FlatTerms = z.looseObject({ payTo: z.string(), maxAmountRequired: z.union([z.string(), z.number()]) });

/**
 * Reads the terms of a 402: v2 from the header or, without one, from the body; v1 from the body.
 * @throws TermsError when there are none, or they have the flat form of before x402 v1, which is never paid
 */
export function parseTerms(headers: Readonly<Record<string, string>>, body: Uint8Array): PaymentTerms {
  const inBody = body.length > MAX_TERMS_BYTES ? undefined : parseJson(body);
  const header = headers['payment-required'];
  const inHeader = header === undefined ? undefined : decodeHeader(header);
  for (const document of [inHeader, inBody]) {
    const envelope = Envelope.safeParse(document);
    if (!envelope.success) continue;
    const { accepts, ...rest } = envelope.data;
    // What JSON can spell and we cannot echo, such as 1e400, makes terms unreadable.
    const echo = isShallow(rest) ? JsonObject.safeParse(rest) : undefined;
    if (!echo?.success) continue;
    return {
      x402Version: envelope.data.x402Version,
      envelope: echo.data,
      offers: accepts,
      isInBody: Envelope.safeParse(inBody).success,
    };
  }
  const flat = FlatTerms.safeParse(inBody);
  if (flat.success) {
    const price = readFlatPrice(String(flat.data.maxAmountRequired));
    throw new TermsError(
      'terms_flat',
      `The worker asks ${price} in the flat form of before x402 v1, which carries no verifiable offer.`,
    );
  }
  throw new TermsError('terms_unreadable', 'The worker answered 402 without terms that x402 v1 or v2 defines.');
}

/** The flat form never had a definition: whole digits are atomic units, a decimal fraction is dollars. */
function readFlatPrice(amount: string): string {
  if (isAtomicText(amount)) return `${formatUsd(parseAtomic(amount))} USDC`;
  return /^\d{1,9}\.\d{1,6}$/.test(amount) ? `${amount} USDC` : 'an amount that cannot be read';
}

function decodeHeader(header: string): unknown {
  try {
    return decodePaymentRequiredHeader(header);
  } catch {
    return undefined;
  }
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}
