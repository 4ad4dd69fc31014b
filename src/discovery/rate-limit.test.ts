import { describe, expect, it } from 'vitest';
import { IndexRateLimiter, readRetryAfterMs } from './rate-limit.ts';

function createClock(nowMs = 1_800_000_000_000) {
  return {
    nowMs: () => nowMs,
    advance: (ms: number) => {
      nowMs += ms;
    },
  };
}

const take = (limiter: IndexRateLimiter, count: number) =>
  Array.from({ length: count }, () => limiter.tryAcquire()).filter(Boolean).length;

describe('IndexRateLimiter', () => {
  it('allows the assumed number in any minute', () => {
    const clock = createClock();
    const limiter = new IndexRateLimiter(clock, 10);
    expect(take(limiter, 15)).toBe(10);
    expect(limiter.waitMs()).toBe(60_000);
    clock.advance(59_999);
    expect(limiter.tryAcquire()).toBe(false);
    clock.advance(1);
    expect(take(limiter, 15)).toBe(10);
  });

  it('leaves the reserve to those who ask without one', () => {
    const limiter = new IndexRateLimiter(createClock(), 4);
    expect([3, 3, 3].map((reserve) => limiter.tryAcquire(reserve))).toEqual([true, false, false]);
    expect(take(limiter, 9)).toBe(3);
    expect(new IndexRateLimiter(createClock(), 2).tryAcquire(3)).toBe(false);
  });

  it('believes the limit in the headers instead', () => {
    const limiter = new IndexRateLimiter(createClock(), 10);
    limiter.observe(200, { 'x-ratelimit-limit': '600', 'x-ratelimit-remaining': '590' });
    expect(take(limiter, 700)).toBe(600);
  });

  it.each([
    ['a Unix time', '1800000030'],
    ['ISO 8601', '2027-01-15T08:00:30Z'],
  ])('waits for a reset given as %s when nothing remains', (_form, reset) => {
    const clock = createClock();
    const limiter = new IndexRateLimiter(clock, null);
    limiter.observe(200, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': reset });
    expect(limiter.waitMs()).toBe(30_000);
    clock.advance(30_000);
    expect(limiter.tryAcquire()).toBe(true);
  });

  it('believes the limits by the minute and by the day as well', () => {
    const limiter = new IndexRateLimiter(createClock(), 10);
    limiter.observe(200, { 'x-ratelimit-limit-minute': '30', 'x-ratelimit-remaining-minute': '29' });
    expect(take(limiter, 50)).toBe(30);
    const clock = createClock();
    for (const header of ['x-ratelimit-remaining-minute', 'x-ratelimit-remaining-day']) {
      const used = new IndexRateLimiter(clock, null);
      used.observe(200, { [header]: '0', 'x-ratelimit-limit-minute': '30', 'x-ratelimit-limit-day': '1000' });
      expect([header, used.tryAcquire()]).toEqual([header, false]);
    }
  });

  it.each(['0', '-1', '1e9', 'many', '', '10, 10'])('does not take the limit %j for one', (limit) => {
    const limiter = new IndexRateLimiter(createClock(), 10);
    limiter.observe(200, { 'x-ratelimit-limit': limit });
    expect(take(limiter, 15)).toBe(10);
  });

  it('obeys the longest wait that it was told, and none that is over', () => {
    const clock = createClock();
    const limiter = new IndexRateLimiter(clock, null);
    limiter.observe(429, { 'retry-after': '90' });
    limiter.observe(429, { 'retry-after': '5' });
    limiter.observe(200, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '1700000000' });
    expect(limiter.waitMs()).toBe(90_000);
    clock.advance(90_000);
    expect(limiter.waitMs()).toBe(0);
  });

  it('obeys a refusal, also one without a time', () => {
    const clock = createClock();
    const limiter = new IndexRateLimiter(clock, null);
    limiter.observe(429, { 'retry-after': '5' });
    expect(limiter.waitMs()).toBe(5_000);
    limiter.observe(429, {});
    expect(limiter.waitMs()).toBe(60_000);
  });

  it('knows no limit when there is none', () => {
    const limiter = new IndexRateLimiter(createClock(), null);
    limiter.observe(500, {});
    expect(take(limiter, 1_000)).toBe(1_000);
  });

  it('survives a clock that is set back', () => {
    const clock = createClock();
    const limiter = new IndexRateLimiter(clock, 2);
    take(limiter, 2);
    clock.advance(-3_600_000);
    expect(limiter.tryAcquire()).toBe(true);
  });
});

describe('readRetryAfterMs', () => {
  const nowMs = Date.parse('2026-09-08T00:00:00Z');
  it.each([
    [{ 'retry-after': '30' }, 30_000],
    [{ 'retry-after': 'Tue, 08 Sep 2026 00:00:10 GMT' }, 10_000],
    [{ 'x-ratelimit-reset': '2026-09-08T00:01:00Z' }, 60_000],
    [{ 'retry-after': 'Mon, 07 Sep 2026 23:00:00 GMT' }, 0],
    [{ 'retry-after': '2026-09-08T00:00:20Z' }, 20_000],
    [{ 'retry-after': '7', 'x-ratelimit-reset': '2026-09-08T00:01:00Z' }, 7_000],
    [{ 'retry-after': 'soon', 'x-ratelimit-reset': '2026-09-08T00:01:00Z' }, 60_000],
    [{ 'x-ratelimit-reset': '1788825630' }, 30_000],
    [{ 'x-ratelimit-reset': '1788825630.5' }, 30_500],
    [{ 'x-ratelimit-reset-minute': '2026-09-08T00:00:30.000Z', 'x-ratelimit-reset': '9' }, 30_000],
    [{ 'x-ratelimit-reset': '2030-01-01T00:00:00Z' }, 86_400_000],
    [{ 'x-ratelimit-reset': 'x' }, null],
    [{ 'retry-after': '-5' }, null],
    [{ 'retry-after': 'soon' }, null],
    [{ 'retry-after': '999999999' }, 86_400_000],
    [{}, null],
  ])('reads %j', (headers, waitMs) => {
    expect(readRetryAfterMs(headers, nowMs)).toBe(waitMs);
  });
});
