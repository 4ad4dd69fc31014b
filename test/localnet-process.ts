// Runs the `localnet` command as the program's own process would, for tests that end it by force.
import { runLocalnet } from '../src/commands/localnet.ts';

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stopping.abort());
process.exitCode = await runLocalnet(
  { workers: 1, json: true },
  {
    stdout: (line) => process.stdout.write(`${line}\n`),
    stderr: (line) => process.stderr.write(`${line}\n`),
    signal: stopping.signal,
  },
);
