import { CoordinatorError } from '../base/errors.ts';
import type { AtomicUsdc } from '../base/money.ts';
import type { Clock } from '../base/time.ts';
import { sleep } from '../base/time.ts';
import { requirePayable } from '../payment/assess.ts';
import type { PaymentDesk } from '../payment/desk.ts';
import type { WorkerClient } from '../worker/client.ts';

/** What a worker asked when it was last probed. */
export type Price =
  | { readonly kind: 'priced'; readonly priceAtomic: AtomicUsdc; readonly chainName: string; readonly payTo: string }
  | { readonly kind: 'free' }
  /** `code` says why: an error code of ours. */
  | { readonly kind: 'unusable'; readonly code: string };

/** Prices rarely change within a minute, and the pay-time quote decides anyway, in milliseconds. */
const FRESH_MS = 60_000;
const MAX_PROBES_AT_ONCE = 64;

/** Remembers what workers ask, and asks those that it does not know. Never a basis for paying. */
export class PriceBook {
  readonly #known = new Map<string, { readonly price: Price; readonly atMs: number }>();
  readonly #worker: WorkerClient;
  readonly #desk: PaymentDesk;
  readonly #clock: Clock;

  constructor(worker: WorkerClient, desk: PaymentDesk, clock: Clock) {
    this.#worker = worker;
    this.#desk = desk;
    this.#clock = clock;
  }

  /**
   * Prices of workers, as many as answer within the deadline.
   * @returns endpoint → price; a worker that did not answer in time is missing
   */
  async fetch(endpoints: readonly string[], deadlineMs: number): Promise<Map<string, Price>> {
    const missing = endpoints.filter((endpoint) => !this.#recall(endpoint));
    const ending = new AbortController();
    const queue = [...missing];
    const workers = Array.from({ length: Math.min(MAX_PROBES_AT_ONCE, queue.length) }, async () => {
      for (let endpoint = queue.shift(); endpoint !== undefined && !ending.signal.aborted; endpoint = queue.shift()) {
        await this.#probe(endpoint, ending.signal);
      }
    });
    await Promise.race([Promise.all(workers), sleep(deadlineMs, ending.signal)]);
    ending.abort();
    return new Map(
      endpoints.flatMap((endpoint) => {
        const price = this.#recall(endpoint);
        return price ? [[endpoint, price] as const] : [];
      }),
    );
  }

  #recall(endpoint: string): Price | undefined {
    const known = this.#known.get(endpoint);
    return known && this.#clock.nowMs() - known.atMs < FRESH_MS ? known.price : undefined;
  }

  async #probe(endpoint: string, signal: AbortSignal): Promise<void> {
    const price = await this.#ask(endpoint, signal).catch((error: unknown): Price => {
      if (!(error instanceof CoordinatorError)) throw error;
      return { kind: 'unusable', code: error.code };
    });
    if (!signal.aborted) this.#known.set(endpoint, { price, atMs: this.#clock.nowMs() });
  }

  async #ask(endpoint: string, signal: AbortSignal): Promise<Price> {
    const probe = await this.#worker.probe(endpoint, signal);
    if (probe.kind === 'free') return { kind: 'free' };
    if (probe.kind === 'unprobeable') return { kind: 'unusable', code: 'worker_unprobeable' };
    const [offer] = requirePayable(this.#desk.readTerms(probe.headers, probe.body));
    return { kind: 'priced', priceAtomic: offer.priceAtomic, chainName: offer.chain.name, payTo: offer.payTo };
  }
}
