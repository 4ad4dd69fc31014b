import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatUsd } from '../base/money.ts';
import { type Localnet, startLocalnet } from '../localnet/localnet.ts';
import { type PaymentAudit, verifyPayments } from '../localnet/verify-payments.ts';
import { DemoAgent, type LoopAnswer } from './demo-agent.ts';
import { planWave } from './demo-ideas.ts';
import { formatTable, type Output } from './output.ts';

/** What the demo shows at its end (design.md section 8). */
interface DemoResult {
  readonly ok: boolean;
  readonly baseline_val_bpb: number | null;
  readonly best_val_bpb: number | null;
  readonly spent_usdc: string;
  readonly chain_verified: boolean;
  readonly duration_s: number;
  readonly experiments: readonly object[];
  readonly results_path: string;
  readonly chart_path: string | null;
}

/**
 * The whole job on an embedded network: an agent designs variants, workers are found, paid on a chain and run them, and
 * the results are ranked. Nothing is simulated but the market.
 * @returns 0 when the score improved and every payment is on the chain
 */
export async function runDemo(
  options: { rounds: number; workers: number },
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const startedMs = performance.now();
  output.say(
    'Starting a local network: a chain, a USDC token, ERC-8004 registries, a facilitator, an index and workers …',
  );
  const network = await startLocalnet({ workers: options.workers });
  const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-demo-'));
  const agent = new DemoAgent({
    ...network.env,
    DATA_DIR: dataDir,
    AUTORESEARCH_RUNNER_IDLE: '2',
    AUTORESEARCH_BUDGET: '50',
  });
  const abort = () => void agent.close();
  signal.addEventListener('abort', abort, { once: true });
  try {
    output.say(
      `  up after ${seconds(startedMs)} s: chain ${network.chainId}, ${network.workers.length} workers, payer ${network.payer} with 1000 USDC`,
    );
    await agent.connect();
    output.say('  an agent is connected to the MCP server over stdio');
    const result = await act(agent, network, options, output, startedMs);
    output.emit(result);
    return result.ok ? 0 : 1;
  } finally {
    signal.removeEventListener('abort', abort);
    await agent.close();
    await network.stop();
  }
}

async function act(
  agent: DemoAgent,
  network: Localnet,
  options: { rounds: number; workers: number },
  output: Output,
  startedMs: number,
): Promise<DemoResult> {
  showWorkers(await agent.discover(), output);
  output.say('\nTHINK → CLAIM → RUN → PUBLISH');
  const script = readFileSync(new URL('examples/train_stdlib.py', distFolder()), 'utf8');
  const report = (text: string) => output.say(`  ${seconds(startedMs).padStart(5)} s  ${text}`);
  const first = await agent.startLoop(script, options.rounds, options.workers, report);
  output.say(`  baseline val_bpb ${first.baseline_val_bpb?.toFixed(6) ?? 'missing'}`);
  const loop = await runRounds(agent, first, options, output, report);

  const board = await agent.leaderboard();
  const experiments = await agent.listExperiments(loop, board.results_path);
  const payments = await verifyPayments(network, experiments);
  const chartPath = await agent.waitForChart();
  showBoard(board, output);
  showPayments(payments, output);
  const baseline = loop.baseline_val_bpb ?? null;
  const best = loop.best?.val_bpb ?? null;
  const isBetter = baseline !== null && best !== null && best < baseline;
  output.say(
    `Result:   ${isBetter ? `${baseline.toFixed(6)} → ${best.toFixed(6)} val_bpb` : 'no improvement on the baseline'}`,
  );
  output.say(
    `Records:  ${board.results_path}\nChart:    ${chartPath ?? 'was not drawn'}\nDone in ${seconds(startedMs)} s.`,
  );
  return {
    ok: isBetter && payments.isComplete && chartPath !== null,
    baseline_val_bpb: baseline,
    best_val_bpb: best,
    spent_usdc: loop.spent_usdc,
    chain_verified: payments.isComplete,
    duration_s: Number(seconds(startedMs)),
    experiments: experiments.map(({ loop_id: _ours, ...experiment }) => experiment),
    results_path: board.results_path,
    chart_path: chartPath,
  };
}

function showWorkers(workers: Awaited<ReturnType<DemoAgent['discover']>>, output: Output): void {
  output.say('\nWorkers found through the index, with the price each asks (HTTP 402):');
  const rows = workers.map(({ worker_endpoint, price_usdc, identity }) => [
    '  ',
    worker_endpoint ?? '',
    `${price_usdc ?? '?'} USDC`,
    identity,
  ]);
  output.say(formatTable(rows));
}

function showBoard(board: Awaited<ReturnType<DemoAgent['leaderboard']>>, output: Output): void {
  output.say('\nLeaderboard (val_bpb, lower is better):');
  const rows = board.standings.map(({ rank, val_bpb, verdict, description }) => [
    `  ${rank}.`,
    val_bpb?.toFixed(6) ?? '-',
    verdict ?? '-',
    description ?? '',
  ]);
  output.say(formatTable(rows));
  output.say(`  scores in order: ${board.sparkline}`);
}

function showPayments(payments: PaymentAudit, output: Output): void {
  output.say(
    payments.isComplete
      ? `\nPayments: ${payments.count} transfers, ${formatUsd(payments.totalAtomic)} USDC in all; each was found on the chain, from the payer to the address that its worker quoted, and no other money left the payer.`
      : `\nPayments: NOT all found on the chain. ${payments.problem}`,
  );
}

async function runRounds(
  agent: DemoAgent,
  first: LoopAnswer,
  options: { rounds: number; workers: number },
  output: Output,
  report: (text: string) => void,
): Promise<LoopAnswer> {
  let loop = first;
  while (loop.state === 'needs_proposals') {
    const wave = planWave(
      await agent.think(loop.loop_id),
      Math.min(options.workers, options.rounds - loop.rounds_done),
      loop.results.map(({ description }) => description),
    );
    if (wave.length === 0) break;
    output.say(`\n  The agent read THINK and proposes ${wave.length}:`);
    for (const idea of wave) output.say(`    · ${idea.hypothesis}`);
    const before = new Set(loop.results.map(({ experiment_id }) => experiment_id));
    loop = await agent.continueLoop(loop.loop_id, wave, report);
    for (const run of loop.results.filter(({ experiment_id }) => !before.has(experiment_id))) {
      const name = run.role === undefined ? run.description : `${run.role} of ${run.description}`;
      output.say(`    ${name}: ${run.val_bpb?.toFixed(6) ?? run.state} ${run.verdict ?? ''}`);
    }
  }
  return loop;
}

function seconds(sinceMs: number): string {
  return ((performance.now() - sinceMs) / 1000).toFixed(1);
}

/** The folder of the bundle, in which the build puts the example scripts. */
function distFolder(): URL {
  const here = new URL('.', import.meta.url);
  return here.pathname.endsWith('/chunks/') ? new URL('..', here) : here;
}
