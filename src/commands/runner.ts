import { VERSION } from '../base/version.ts';
import { readConfig } from '../config.ts';
import { Runner } from '../coordinator/runner.ts';
import { openServices } from '../coordinator/services.ts';
import { createLog } from './context.ts';

/** Executes the queued work of the data folder until there is none for a while. */
export async function runRunner(signal: AbortSignal): Promise<number> {
  const config = readConfig(process.env);
  const log = createLog(config.logLevel);
  const services = await openServices(config, VERSION, log);
  try {
    const isOurs = await new Runner(services).run(config.runnerIdleSeconds * 1000, signal);
    if (!isOurs) log.info({}, 'another runner has this data folder');
    return 0;
  } finally {
    await services.close();
  }
}
