import '../transports/quiet-stdout.ts';
import { VERSION } from '../base/version.ts';
import { readConfig } from '../config.ts';
import { serveStdio } from '../transports/stdio.ts';
import { createCoordinator, createLog } from './context.ts';

/** The MCP server on stdio: what the program does without arguments. */
export async function runServer(): Promise<number> {
  const config = readConfig(process.env);
  const log = createLog(config.logLevel);
  await serveStdio(createCoordinator(config, log), { version: VERSION, log });
  return 0;
}
