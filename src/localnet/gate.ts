import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { registerExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware } from '@x402/express';
import type { RequestHandler } from 'express';
import type { Hex } from 'viem';
import { findChain } from '../base/chains.ts';
import { LOCAL_CHAIN_ID } from './anvil.ts';
import { canonicalAddresses } from './contracts.ts';

/** Long enough for the longest run that a local worker allows, with settlement after it. */
const MAX_TIMEOUT_SECONDS = 900;

/**
 * The SDK's x402 gate for one worker: it verifies a payment, lets the handler run, and settles only when the handler's
 * status is below 400.
 * @param priceAtomic atomic USDC per request
 */
export function createGate(facilitatorUrl: string, payTo: Hex, priceAtomic: bigint): RequestHandler {
  const network = `eip155:${LOCAL_CHAIN_ID}` as const;
  const pin = findChain(LOCAL_CHAIN_ID)?.asset;
  const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitatorUrl }));
  registerExactEvmScheme(server, { networks: [network] });
  // One entry for every path: the gate is mounted on the paid route itself, so no spelling of the path slips past.
  const routes = {
    accepts: {
      scheme: 'exact',
      network,
      payTo,
      maxTimeoutSeconds: MAX_TIMEOUT_SECONDS,
      price: {
        asset: canonicalAddresses.token,
        amount: priceAtomic.toString(),
        extra: { name: pin?.domainName ?? 'USDC', version: pin?.domainVersion ?? '2' },
      },
    },
    description: 'Runs one train.py experiment',
    mimeType: 'application/json',
  };
  return paymentMiddleware(routes, server);
}
