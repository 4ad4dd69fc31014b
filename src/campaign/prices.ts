import { CoordinatorError } from '../base/errors.ts';
import type { AtomicUsdc } from '../base/money.ts';
import type { Clock } from '../base/time.ts';
import { sleep } from '../base/time.ts';
import { NetworkError } from '../net/errors.ts';
import { requirePayable } from '../payment/assess.ts';
import type { PaymentDesk } from '../payment/desk.ts';
import type { WorkerClient } from '../worker/client.ts';

/** What a worker asked when it was last probed. */
export type Price =
  | { readonly kind: 'priced'; readonly priceAtomic: AtomicUsdc; readonly chainName: string; readonly payTo: string }
  | { readonly kind: 'free' }
  /** `code` says why: an error code of ours. */
  | { readonly kind: 'unusable'; readonly code: string; readonly hasAnswered: boolean };

/** Prices rarely change within a minute, and the pay-time quote decides anyway, in milliseconds. */
const FRESH_MS = 60_000;
/** As many as discovery asks at once: a few dozen that hang must not stop the others. */
const MAX_PROBES_AT_ONCE = 128;
/** Beyond this the oldest entries go: strangers decide how many workers there are. */
const MAX_KNOWN = 5_000;

/** Remembers what workers ask, and asks those that it does not know. Never a basis for paying. */
export class PriceBook {
  readonly #known = new Map<string, { readonly price: Price; readonly atMs: number }>();
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly #worker: WorkerClient;
  readonly #desk: PaymentDesk;
  readonly #clock: Clock;

  constructor(worker: WorkerClient, desk: PaymentDesk, clock: Clock) {
    this.#worker = worker;
    this.#desk = desk;
    this.#clock = clock;
  }

  /**
   * Prices of workers, as many as answer within the deadline; the first of the list are asked first. A probe that is
   * under way then goes on, so that the next call may find its answer.
   * @returns endpoint → price; a worker that did not answer in time is missing
   */
  async fetch(endpoints: readonly string[], deadlineMs: number): Promise<Map<string, Price>> {
    const missing = [...new Set(endpoints)].filter((endpoint) => !this.#recall(endpoint));
    const waiting = new AbortController();
    const queue = missing.values();
    const lanes = Array.from({ length: Math.min(MAX_PROBES_AT_ONCE, missing.length) }, async () => {
      for (const endpoint of queue) {
        if (waiting.signal.aborted) return;
        await this.#probe(endpoint);
      }
    });
    await Promise.race([Promise.all(lanes), sleep(deadlineMs, waiting.signal)]);
    waiting.abort();
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

  /** One question at a time to the same worker, whoever asks. */
  async #probe(endpoint: string): Promise<void> {
    const running = this.#inFlight.get(endpoint) ?? this.#askAndKeep(endpoint);
    this.#inFlight.set(endpoint, running);
    try {
      await running;
    } finally {
      this.#inFlight.delete(endpoint);
    }
  }

  async #askAndKeep(endpoint: string): Promise<void> {
    const price = await this.#ask(endpoint).catch((error: unknown): Price => {
      if (!(error instanceof CoordinatorError)) throw error;
      return { kind: 'unusable', code: error.code, hasAnswered: !(error instanceof NetworkError) };
    });
    this.#known.delete(endpoint);
    this.#known.set(endpoint, { price, atMs: this.#clock.nowMs() });
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size > MAX_KNOWN) this.#known.delete(oldest);
  }

  async #ask(endpoint: string): Promise<Price> {
    const probe = await this.#worker.probe(endpoint);
    if (probe.kind === 'free') return { kind: 'free' };
    if (probe.kind === 'unprobeable') return { kind: 'unusable', code: 'worker_unprobeable', hasAnswered: true };
    const [offer] = requirePayable(this.#desk.readTerms(probe.headers, probe.body));
    return { kind: 'priced', priceAtomic: offer.priceAtomic, chainName: offer.chain.name, payTo: offer.payTo };
  }
}
