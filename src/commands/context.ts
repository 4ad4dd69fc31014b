import { pino } from 'pino';
import type { Log } from '../base/log.ts';
import { VERSION } from '../base/version.ts';
import type { Config, LogLevel } from '../config.ts';
import { Coordinator } from '../coordinator.ts';

/** A log on stderr; stdout belongs to answers. */
export function createLog(level: LogLevel): Log {
  return pino(
    { level, base: { pid: process.pid }, serializers: { error: pino.stdSerializers.err } },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** A coordinator of this process; runners that it starts run this same program. */
export function createCoordinator(config: Config, log: Log): Coordinator {
  const [, script] = process.argv;
  return new Coordinator({
    config,
    version: VERSION,
    log,
    runnerCommand: script === undefined ? [] : [process.execPath, script, 'runner'],
  });
}
