import { existsSync, readFileSync } from 'node:fs';
import { x402Client, x402HTTPClient } from '@x402/core/client';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import type { Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import * as z from 'zod';
import type { Localnet } from '../src/localnet/localnet.ts';

/** An answer to a paid request, with the receipt that came with it. */
export interface PaidAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly receipt: { readonly success: boolean; readonly transaction: string } | null;
}

const keySchema = z.custom<Hex>((value) => typeof value === 'string' && /^0x[0-9a-f]{64}$/.test(value));

export const objectSchema = z.record(z.string(), z.unknown());

/** The private key that a network's environment names. */
export function readPayerKey(network: Pick<Localnet, 'env'>): Hex {
  return keySchema.parse(readFileSync(network.env.AUTORESEARCH_PRIVATE_KEY_FILE ?? '', 'utf8').trim());
}

/** Fetches a JSON object. */
export async function getJson(url: string) {
  const answer = await fetch(url);
  return { status: answer.status, headers: answer.headers, body: objectSchema.parse(await answer.json()) };
}

/** Whether a process runs. Orphans may stay as zombies where nobody collects them: these do not count. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    if (!existsSync('/proc/self/stat')) return true;
    return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] !== 'Z';
  } catch {
    return false;
  }
}

/** A stock x402 client, step by step, so that a test can send one header more than once. */
export class StockPayer {
  readonly #http: x402HTTPClient;

  constructor(privateKey: Hex) {
    const scheme = new ExactEvmScheme(privateKeyToAccount(privateKey));
    this.#http = new x402HTTPClient(new x402Client().register('eip155:84532', scheme));
  }

  /** Asks for the price and signs a payment; nothing has moved yet. */
  async sign(workerEndpoint: string): Promise<Record<string, string>> {
    const offer = await fetch(`${workerEndpoint}/experiment`, { method: 'POST', body: '{}' });
    const required = this.#http.getPaymentRequiredResponse((name) => offer.headers.get(name), await offer.json());
    return this.#http.encodePaymentSignatureHeader(await this.#http.createPaymentPayload(required));
  }

  /** Sends an experiment with a signed payment. */
  async send(
    workerEndpoint: string,
    payment: Record<string, string>,
    experiment: unknown,
    signal?: AbortSignal,
  ): Promise<PaidAnswer> {
    const answer = await fetch(`${workerEndpoint}/experiment`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...payment },
      body: JSON.stringify(experiment),
      ...(signal ? { signal } : {}),
    });
    const hasReceipt = answer.headers.has('payment-response');
    return {
      status: answer.status,
      body: objectSchema.parse(await answer.json()),
      receipt: hasReceipt ? this.#http.getPaymentSettleResponse((name) => answer.headers.get(name)) : null,
    };
  }

  /** Signs and sends. */
  async pay(workerEndpoint: string, experiment: unknown): Promise<PaidAnswer> {
    return this.send(workerEndpoint, await this.sign(workerEndpoint), experiment);
  }
}
