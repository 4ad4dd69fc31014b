import type { ServerNotification } from '@modelcontextprotocol/sdk/types.js';

/** Clients that reset their time-outs on progress want to hear something at least this often, in milliseconds. */
const EVERY_MS = 3_000;

/**
 * Progress notifications of one call: one when something changes and one every few seconds. Without a token the client
 * wants none.
 */
export function createProgress(
  token: string | number | undefined,
  send: (notification: ServerNotification) => Promise<void>,
): { report: (message: string) => void; stop: () => void } | undefined {
  if (token === undefined) return undefined;
  let progress = 0;
  let latest = 'working';
  const notify = () => {
    progress += 1;
    // A client that left cannot be told anything more; the call itself notices.
    send({ method: 'notifications/progress', params: { progressToken: token, progress, message: latest } }).catch(
      () => {},
    );
  };
  const timer = setInterval(notify, EVERY_MS);
  return {
    report: (message) => {
      latest = message;
      notify();
    },
    stop: () => clearInterval(timer),
  };
}
