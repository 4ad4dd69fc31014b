import type { RequestHandler } from 'express';

const WINDOW_MS = 60_000;

/** The index's limit per minute with the headers that it documents (8004scan.md section 6). */
export function createRateLimit(limit: number): RequestHandler {
  let resetMs = 0;
  let used = 0;
  return (_request, response, next) => {
    const nowMs = Date.now();
    if (nowMs >= resetMs) {
      resetMs = nowMs + WINDOW_MS;
      used = 0;
    }
    used += 1;
    const remaining = Math.max(0, limit - used);
    response.set({
      'X-RateLimit-Limit': String(limit),
      'X-RateLimit-Remaining': String(remaining),
      'X-RateLimit-Reset': String(Math.ceil(resetMs / 1_000)),
    });
    if (used <= limit) {
      next();
      return;
    }
    const details = { limit, remaining, resetAt: new Date(resetMs).toISOString() };
    response
      .status(429)
      .set('Retry-After', String(Math.ceil((resetMs - nowMs) / 1_000)))
      .json({ success: false, error: { code: 'RateLimitExceeded', message: 'Rate limit exceeded.', details } });
  };
}
