import type { Clock } from '../base/time.ts';

type Headers = Readonly<Record<string, string>>;

const MINUTE_MS = 60_000;
/** A wait that an index asks for is believed up to this; a wrong clock must not silence us for a year. */
const MAX_WAIT_MS = 24 * 60 * MINUTE_MS;

/**
 * Keeps us within the index's limit before the index has to refuse. What the index says in its headers replaces the
 * assumed limit, since documented and measured limits differ (8004scan.md section 6).
 */
export class IndexRateLimiter {
  #perMinute: number | null;
  #takenAtMs: number[] = [];
  #blockedUntilMs = 0;

  /** @param perMinute requests per minute until the index says otherwise; null: no limit known */
  constructor(
    private readonly clock: Clock,
    perMinute: number | null,
  ) {
    this.#perMinute = perMinute;
  }

  /** Whether the index counts requests. */
  get isLimited(): boolean {
    return this.#perMinute !== null;
  }

  /**
   * Takes one request; false when it has to wait.
   * @param reserve how many requests of the minute are left to more important ones
   */
  tryAcquire(reserve = 0): boolean {
    if (this.waitMs(reserve) > 0) return false;
    this.#takenAtMs.push(this.clock.nowMs());
    return true;
  }

  /** How long until the next request is allowed, milliseconds; 0: now. */
  waitMs(reserve = 0): number {
    const nowMs = this.clock.nowMs();
    // A clock that was set back would otherwise keep old entries for ever.
    this.#takenAtMs = this.#takenAtMs.filter((takenMs) => takenMs <= nowMs && nowMs - takenMs < MINUTE_MS);
    const oldestMs = this.#takenAtMs[0];
    const isFull = this.#perMinute !== null && this.#takenAtMs.length + reserve >= this.#perMinute;
    const windowMs = isFull ? (oldestMs ?? nowMs) + MINUTE_MS - nowMs : 0;
    return Math.max(0, windowMs, this.#blockedUntilMs - nowMs);
  }

  /**
   * Learns from an answer's status and headers; missing headers mean unknown, not unlimited.
   * @param toldMs what a refusal says in its headers or its body of when to come again, milliseconds from now
   */
  observe(status: number, headers: Headers, toldMs = readRetryAfterMs(headers, this.clock.nowMs())): void {
    const nowMs = this.clock.nowMs();
    const limit = readCount(headers['x-ratelimit-limit-minute'] ?? headers['x-ratelimit-limit']);
    if (limit !== null && limit > 0) this.#perMinute = limit;
    const retryAfterMs = status === 429 ? (toldMs ?? MINUTE_MS) : null;
    const remaining = readCount(headers['x-ratelimit-remaining-minute'] ?? headers['x-ratelimit-remaining']);
    const isUsedUp = remaining === 0 || readCount(headers['x-ratelimit-remaining-day']) === 0;
    const waitMs = retryAfterMs ?? (isUsedUp ? (readResetMs(headers, nowMs) ?? MINUTE_MS) : 0);
    if (waitMs > 0) this.#blockedUntilMs = Math.max(this.#blockedUntilMs, nowMs + waitMs);
  }
}

/**
 * How long an answer asks us to wait: `Retry-After` in seconds or as a date, else the rate limit's reset.
 * @returns milliseconds from `nowMs`, or null when the answer does not say
 */
export function readRetryAfterMs(headers: Headers, nowMs: number): number | null {
  const text = headers['retry-after']?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return clampWait(Number(text) * 1_000);
  // Date.parse reads '-5' as a year.
  const dateMs = /^([A-Za-z]{3}|\d{4}-)/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(dateMs) ? readResetMs(headers, nowMs) : clampWait(dateMs - nowMs);
}

function readResetMs(headers: Headers, nowMs: number): number | null {
  return readResetTimeMs(headers['x-ratelimit-reset-minute'] ?? headers['x-ratelimit-reset'], nowMs);
}

/**
 * How long until the time at which a limit is lifted: Unix seconds as documented for headers, ISO 8601 as in bodies.
 * @returns milliseconds from `nowMs`, or null when it is no time
 */
export function readResetTimeMs(value: unknown, nowMs: number): number | null {
  const text = typeof value === 'string' ? value.trim() : typeof value === 'number' ? String(value) : '';
  if (text === '' || text.length > 64) return null;
  const resetMs = /^\d{1,12}(\.\d+)?$/.test(text) ? Number(text) * 1_000 : Date.parse(text);
  return Number.isNaN(resetMs) ? null : clampWait(resetMs - nowMs);
}

function clampWait(waitMs: number): number {
  return Math.min(MAX_WAIT_MS, Math.max(0, waitMs));
}

function readCount(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,9}$/.test(text.trim()) ? Number(text) : null;
}
