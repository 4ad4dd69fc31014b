import { sleep } from '../base/time.ts';

/**
 * Waits for a promise, but not longer than the given time; its failure counts as settled.
 * @param waitMs milliseconds; nothing is waited for at 0 or below
 * @returns whether it settled in time
 */
export async function settleWithin(promise: Promise<unknown>, waitMs: number): Promise<boolean> {
  const waiting = new AbortController();
  const settled = promise.then(
    () => true,
    () => true,
  );
  const expired = sleep(Math.max(0, waitMs), waiting.signal).then(() => false);
  const isSettled = await Promise.race([settled, expired]);
  waiting.abort();
  return isSettled;
}
