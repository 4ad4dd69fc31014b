import './quiet-stdout.ts';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import type { Log } from '../base/log.ts';
import type { Coordinator } from '../coordinator.ts';
import { createServer } from '../server.ts';

/** A close that hangs is cut off after this time, in milliseconds; hosts kill after two seconds. */
const CLOSE_DEADLINE_MS = 1_500;

/**
 * Serves MCP on stdin and stdout until the client leaves in any of the ways in which clients leave. Work in flight is
 * not cancelled by that: the runner goes on with it.
 * @returns when the process may exit
 */
export async function serveStdio(coordinator: Coordinator, options: { version: string; log: Log }): Promise<void> {
  const { log } = options;
  const server = createServer(coordinator, options);
  const left = new Promise<string>((resolve) => {
    process.stdout.on('error', () => resolve('stdout closed'));
    process.stdin.on('end', () => resolve('stdin ended'));
    process.stdin.on('close', () => resolve('stdin closed'));
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  });
  server.oninitialized = () => {
    // Left-over work is taken up once the client has its answer.
    setImmediate(() => {
      coordinator.resume().catch((error: unknown) => log.warn({ error }, 'left-over work could not be taken up'));
    });
  };
  await server.connect(new StdioServerTransport());
  const reason = await left;
  log.debug({ reason }, 'client left');
  setTimeout(() => process.exit(0), CLOSE_DEADLINE_MS).unref();
  await Promise.allSettled([server.close(), coordinator.close()]);
}
