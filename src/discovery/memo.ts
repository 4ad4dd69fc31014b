import type { Clock } from '../base/time.ts';

interface Entry<T> {
  readonly value: T;
  readonly storedAtMs: number;
}

/** Beyond this the oldest entries go: strangers decide how many keys there are. */
const MAX_ENTRIES = 2_000;

/** Keeps answers of a process for a while and asks only once at a time for the same key. */
export class Memo<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #inFlight = new Map<string, Promise<T>>();

  /**
   * @param clock judges ages
   * @param lifetimeMs how long an answer may be used again, milliseconds; 0: not at all
   */
  constructor(
    private readonly clock: Clock,
    private readonly lifetimeMs: (value: T) => number,
  ) {}

  /** The kept answer if it is young enough and was stored at or after `notBeforeMs` (Unix epoch). */
  peek(key: string, notBeforeMs = 0): Entry<T> | undefined {
    const entry = this.#entries.get(key);
    if (!entry || entry.storedAtMs < notBeforeMs) return undefined;
    return this.clock.nowMs() - entry.storedAtMs < this.lifetimeMs(entry.value) ? entry : undefined;
  }

  /** The kept answer, else that of `ask`, which is shared by all who ask meanwhile. */
  async get(key: string, ask: () => Promise<T>, notBeforeMs = 0): Promise<T> {
    const kept = this.peek(key, notBeforeMs);
    if (kept) return kept.value;
    const running = this.#inFlight.get(key);
    if (running) return running;
    const asked = ask();
    this.#inFlight.set(key, asked);
    try {
      const value = await asked;
      this.#keep(key, value);
      return value;
    } finally {
      this.#inFlight.delete(key);
    }
  }

  #keep(key: string, value: T): void {
    if (this.lifetimeMs(value) <= 0) return;
    this.#entries.delete(key);
    this.#entries.set(key, { value, storedAtMs: this.clock.nowMs() });
    const oldest = this.#entries.size > MAX_ENTRIES ? this.#entries.keys().next().value : undefined;
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}
