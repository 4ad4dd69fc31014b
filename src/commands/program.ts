import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { JsonObject } from '../base/json.ts';
import { VERSION } from '../base/version.ts';
import { createOutput, guardCommand, type Output } from './output.ts';
import type { Scope } from './results.ts';

/** Reads a whole number from 1 on. */
function parseCount(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 on.');
  return Number(text);
}

function parseConfig(text: string): JsonObject {
  try {
    return JsonObject.parse(JSON.parse(text));
  } catch {
    throw new InvalidArgumentError('It must be a JSON object such as {"DEPTH": 9}.');
  }
}

type Run = (isJson: boolean | undefined, action: (output: Output) => Promise<number>) => Promise<void>;

function addWallet(program: Command, run: Run): void {
  const load = () => import('./wallet.ts');
  const wallet = program
    .command('wallet')
    .description('Payer, balance, caps and spending')
    .option('--json', 'print one JSON object on one line')
    .action(({ json }: { json?: boolean }) => run(json, async (output) => (await load()).runWallet(output)));
  const sub = (name: string, description: string) =>
    wallet.command(name).description(description).option('--json', 'print one JSON object on one line');
  const isJson = (command: Command) => command.optsWithGlobals<{ json?: boolean }>().json;
  sub('create', 'Creates a key in an encrypted keystore').action((_options: object, command: Command) =>
    run(isJson(command), async (output) => (await load()).runWalletCreate(output)),
  );
  sub('freeze', 'Stops all spending of the data folder at once').action((_options: object, command: Command) =>
    run(isJson(command), async (output) => (await load()).runWalletFreeze(true, output)),
  );
  sub('unfreeze', 'Allows spending again').action((_options: object, command: Command) =>
    run(isJson(command), async (output) => (await load()).runWalletFreeze(false, output)),
  );
  sub('history', 'Every payment: reserved, spent, released')
    .option('--csv', 'print comma-separated values')
    .action(({ csv }: { csv?: boolean }, command: Command) =>
      run(isJson(command), async (output) => (await load()).runWalletHistory(csv ?? false, output)),
    );
}

/** Ends with SIGINT or SIGTERM. */
function createStopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}

/** Parses the command line and runs what it names. @returns the exit code */
export async function runCommand(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = buildProgram((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv]);
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
}

function buildProgram(setExitCode: (code: number) => void): Command {
  const program = new Command('autoresearch-coordinator')
    .description(
      'Finds on-chain GPU workers, pays them per experiment in USDC, and judges the results. Without a command: MCP server on stdio.',
    )
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError();
  const run = (isJson: boolean | undefined, action: (output: Output) => Promise<number>) => {
    const output = createOutput(isJson ?? false);
    return guardCommand(output, () => action(output)).then(setExitCode);
  };
  const command = (name: string, description: string) =>
    program.command(name).description(description).option('--json', 'print one JSON object on one line');

  command('demo', 'Embedded local network with real paid training runs; ends by itself')
    .option('--rounds <n>', 'experiments that the agent proposes', parseCount, 4)
    .option('--workers <n>', 'workers of the network', parseCount, 3)
    .action(({ json, rounds, workers }: { json?: boolean; rounds: number; workers: number }) =>
      run(json, async (output) => (await import('./demo.ts')).runDemo({ rounds, workers }, output, createStopSignal())),
    );
  command('localnet', 'Keeps the local network up until SIGINT; prints the environment to use it')
    .option('--workers <n>', 'workers of the network', parseCount, 3)
    .action(({ json, workers }: { json?: boolean; workers: number }) =>
      run(json, async () => {
        const { runLocalnet } = await import('./localnet.ts');
        const io = {
          stdout: (line: string) => void process.stdout.write(`${line}\n`),
          stderr: (line: string) => void process.stderr.write(`${line}\n`),
          signal: createStopSignal(),
        };
        return runLocalnet({ workers, json: json ?? false }, io);
      }),
    );
  command('discover', 'Lists workers, with their prices')
    .option('--limit <n>', 'at most so many', parseCount, 20)
    .action(({ json, limit }: { json?: boolean; limit: number }) =>
      run(json, async (output) => (await import('./market.ts')).runDiscover(limit, output)),
    );
  command('probe <endpoint>', 'Asks a worker for its price; pays nothing').action(
    (endpoint: string, { json }: { json?: boolean }) =>
      run(json, async (output) => (await import('./market.ts')).runProbe(endpoint, output)),
  );
  command('submit <endpoint> <train.py>', 'Buys one run of a script; "auto" as endpoint lets the coordinator choose')
    .option('--config <json>', 'JSON object for scripts that read AUTORESEARCH_EXPERIMENT_CONFIG', parseConfig)
    .action((endpoint: string, file: string, { json, config }: { json?: boolean; config?: JsonObject }) =>
      run(json, async (output) => (await import('./market.ts')).runSubmit({ endpoint, file, config }, output)),
    );
  command('experiments [id]', 'Past and running experiments, or one of them')
    .option('--limit <n>', 'at most so many', parseCount, 20)
    .option('--search <words>', 'only those whose description, hypothesis, agent, worker or verdict hold every word')
    .action((id: string | undefined, { json, ...which }: { json?: boolean; limit: number; search?: string }) =>
      run(json, async (output) => (await import('./results.ts')).runExperiments(id, which, output)),
    );
  command('leaderboard', 'Ranking of the results')
    .option('--limit <n>', 'at most so many', parseCount, 20)
    .addOption(
      new Option(
        '--scope <scope>',
        'our results, the workers that gave them, the agents that proposed them, or what workers claim of themselves',
      )
        .choices(['variants', 'workers', 'agents', 'global'] satisfies Scope[])
        .default('variants' satisfies Scope),
    )
    .action(({ json, limit, scope }: { json?: boolean; limit: number; scope: Scope }) =>
      run(json, async (output) => (await import('./results.ts')).runLeaderboard(scope, limit, output)),
    );
  command('feedback <experiment_id>', 'Rates the worker of a paid experiment on the chain; shows what it would send')
    .option('--send', 'sign and send it, which costs gas and is public for good')
    .action((id: string, { json, send }: { json?: boolean; send?: boolean }) =>
      run(json, async (output) => (await import('./feedback.ts')).runFeedback(id, send ?? false, output)),
    );
  command('loop <train.py>', 'Starts a loop around a script and prints what to think about next')
    .option('--prefer <url>', 'worker to use first')
    .option('--rounds <n>', 'proposals to run', parseCount, 10)
    .action((file: string, { json, prefer, rounds }: { json?: boolean; prefer?: string; rounds: number }) =>
      run(json, async (output) => (await import('./loop.ts')).runLoopCommand({ file, prefer, rounds }, output)),
    );
  addWallet(program, run);
  command('doctor', 'Checks signer, chain, index, store, Python, clock and caps').action(
    ({ json }: { json?: boolean }) => run(json, async (output) => (await import('./doctor.ts')).runDoctor(output)),
  );
  program
    .command('runner', { hidden: true })
    .description('Executes the queued work of the data folder; started when needed')
    .action(async () => setExitCode(await (await import('./runner.ts')).runRunner(createStopSignal())));
  return program;
}
