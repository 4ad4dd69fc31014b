import { sleep } from '../base/time.ts';

/** How often a state is read while a caller waits for it, in milliseconds. */
const POLL_MS = 150;

/**
 * Reads something again and again until it is as wanted, the time is up or the caller leaves. Leaving stops the
 * waiting and nothing else.
 * @param waitSeconds at most so long
 */
export async function waitUntil<T>(
  read: () => Promise<T>,
  isDone: (value: T) => boolean,
  waitSeconds: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  const deadlineMs = performance.now() + waitSeconds * 1000;
  for (;;) {
    const value = await read();
    const leftMs = deadlineMs - performance.now();
    if (isDone(value) || leftMs <= 0 || signal?.aborted) return value;
    await sleep(Math.min(POLL_MS, leftMs), signal);
  }
}
