import { x402Client, x402HTTPClient } from '@x402/core/client';
import { parsePaymentRequired } from '@x402/core/schemas';
import type { PaymentPayloadResult, PaymentRequired, PaymentRequirements, SchemeNetworkClient } from '@x402/core/types';
import { findDefaultAsset } from '@x402/evm';
import { getAddress } from 'viem';
import * as z from 'zod';
import { CoordinatorError } from '../base/errors.ts';
import { JsonObject } from '../base/json.ts';
import { formatUsd } from '../base/money.ts';
import type { StoredTerms } from './attempt.ts';
import { GuardError, type SigningGuard } from './guard.ts';
import type { JournaledIntent } from './intent.ts';

const Amounts = z.looseObject({ amount: z.string().optional(), maxAmountRequired: z.string().optional() });

/**
 * The scheme `exact` for one attempt: it can only sign the attempt's journaled intent, and refuses an offer that
 * differs from it (x402.md section 9).
 */
class PinnedExact implements SchemeNetworkClient {
  readonly scheme = 'exact';
  readonly findDefaultAsset = findDefaultAsset;
  readonly #guard: SigningGuard;
  readonly #intent: JournaledIntent;

  constructor(guard: SigningGuard, intent: JournaledIntent) {
    this.#guard = guard;
    this.#intent = intent;
  }

  async createPaymentPayload(x402Version: number, offer: PaymentRequirements): Promise<PaymentPayloadResult> {
    const intent = this.#intent;
    const { amount, maxAmountRequired } = Amounts.parse(offer);
    const isIntended =
      (x402Version === 1 ? maxAmountRequired : amount) === intent.valueAtomic.toString() &&
      getAddress(offer.payTo) === intent.payTo &&
      getAddress(offer.asset) === getAddress(intent.chain.asset.address) &&
      [intent.chain.caip2, intent.chain.name].includes(offer.network);
    if (!isIntended) throw new GuardError('offer_differs', 'The offer to pay is not the journaled one.');
    const signature = await this.#guard.sign(intent);
    const authorization = {
      from: intent.payer,
      to: intent.payTo,
      value: intent.valueAtomic.toString(),
      validAfter: '0',
      validBefore: String(intent.validBefore),
      nonce: intent.nonce,
    };
    const v1 = x402Version === 1 ? { scheme: offer.scheme, network: offer.network } : {};
    return { x402Version, ...v1, payload: { signature, authorization } };
  }
}

/**
 * Signs an attempt and encodes it as the header that its gate reads.
 * @throws GuardError when the guard refuses or the signer's answer is not usable
 */
export async function createPaymentHeader(
  guard: SigningGuard,
  intent: JournaledIntent,
  terms: StoredTerms,
): Promise<{ name: 'PAYMENT-SIGNATURE' | 'X-PAYMENT'; value: string }> {
  const scheme = new PinnedExact(guard, intent);
  const client = new x402Client().setSpendControls({ maxAmountPerPayment: `$${formatUsd(intent.valueAtomic)}` });
  if (terms.x402Version === 1) client.registerV1(terms.network, scheme);
  else client.register(intent.chain.caip2, scheme);
  const document: unknown = { ...nameExperiment(terms.envelope, intent), accepts: [terms.offer] };
  if (!isPaymentRequired(document))
    throw new GuardError('offer_differs', 'The journaled offer is not one that the x402 SDK can pay.');
  const payload = await client.createPaymentPayload(document).catch((error: unknown) => {
    if (error instanceof CoordinatorError) throw error;
    // The SDK refuses in plain errors; retrying one would hold the reservation for nothing.
    throw new GuardError('offer_differs', 'The x402 SDK finds nothing in the journaled offer that it may pay.');
  });
  const headers = new x402HTTPClient(client).encodePaymentSignatureHeader(payload);
  for (const name of ['PAYMENT-SIGNATURE', 'X-PAYMENT'] as const) {
    const value = headers[name];
    if (value !== undefined) return { name, value };
  }
  throw new GuardError('bad_signature', 'The x402 SDK made no payment header.');
}

/** Key of the extension by which a gate recognises a repeated submission (x402.md section 11). */
const IDENTIFIER = 'payment-identifier';

/** The envelope with our id in the extension that asks for one: a repeat then gets the first answer again. */
function nameExperiment(envelope: JsonObject, { experimentId, attempt }: JournaledIntent): JsonObject {
  const extensions = JsonObject.safeParse(envelope.extensions);
  const declared = JsonObject.safeParse(extensions.data?.[IDENTIFIER]);
  if (!extensions.success || !declared.success) return envelope;
  const info = JsonObject.safeParse(declared.data.info);
  const id = `${experimentId}-a${attempt}`;
  return {
    ...envelope,
    extensions: { ...extensions.data, [IDENTIFIER]: { ...declared.data, info: { ...info.data, id } } },
  };
}

/** The SDK's schema drops unknown keys, so the document itself is used: a gate compares what it gets with its offer. */
function isPaymentRequired(document: unknown): document is PaymentRequired {
  return parsePaymentRequired(document).success;
}
