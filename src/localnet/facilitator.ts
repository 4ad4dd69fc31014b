import { x402Facilitator } from '@x402/core/facilitator';
import { isPaymentPayload, isPaymentRequirements } from '@x402/core/schemas';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { registerExactEvmScheme } from '@x402/evm/exact/facilitator';
import express, { type ErrorRequestHandler, type RequestHandler } from 'express';
import type { Hex } from 'viem';
import * as z from 'zod';
import { LOCAL_CHAIN_ID } from './anvil.ts';
import type { LocalClient } from './chain.ts';
import { createFacilitatorSigner } from './facilitator-signer.ts';
import { type HttpPart, listen } from './listen.ts';

// Checked by the SDK's schemas but passed on as they came: parsing would drop keys of the offer.
const requestSchema = z.looseObject({
  paymentPayload: z.custom<PaymentPayload>((value) => isPaymentPayload(value)),
  paymentRequirements: z.custom<PaymentRequirements>((value) => isPaymentRequirements(value)),
});

/** An x402 facilitator over HTTP (`/verify`, `/settle`, `/supported`) that settles on the local chain. */
export async function startFacilitator(client: LocalClient, account: Hex): Promise<HttpPart> {
  const facilitator = new x402Facilitator();
  registerExactEvmScheme(facilitator, {
    signer: createFacilitatorSigner(client, account),
    networks: `eip155:${LOCAL_CHAIN_ID}`,
  });
  const app = express()
    .disable('x-powered-by')
    .use(express.json({ limit: '256kb' }));
  app.get('/supported', (_request, response) => void response.json(facilitator.getSupported()));
  app.post(
    '/verify',
    answer((payload, requirements) => facilitator.verify(payload, requirements)),
  );
  app.post(
    '/settle',
    answer((payload, requirements) => facilitator.settle(payload, requirements)),
  );
  app.use(answerError);
  return listen('facilitator', app);
}

function answer(
  decide: (payload: PaymentPayload, requirements: PaymentRequirements) => Promise<unknown>,
): RequestHandler {
  return async (request, response) => {
    const body = requestSchema.safeParse(request.body);
    if (!body.success) {
      response.status(400).json({ error: 'paymentPayload and paymentRequirements are required' });
      return;
    }
    response.json(await decide(body.data.paymentPayload, body.data.paymentRequirements));
  };
}

const answerError: ErrorRequestHandler = (_error, _request, response, _next) => {
  response.status(500).json({ error: 'the local chain does not answer' });
};
