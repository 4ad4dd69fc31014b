import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import * as z from 'zod';
import { sleep } from '../base/time.ts';
import { VERSION } from '../base/version.ts';
import { LocalnetPartError } from '../localnet/errors.ts';
import type { Idea } from './demo-ideas.ts';

const Workers = z.object({
  workers: z.array(
    z.object({ worker_endpoint: z.string().optional(), price_usdc: z.string().optional(), identity: z.string() }),
  ),
});

const LoopAnswerSchema = z.object({
  loop_id: z.string(),
  state: z.string(),
  summary: z.string(),
  rounds_done: z.number(),
  extra_runs: z.number(),
  baseline_val_bpb: z.number().optional(),
  best: z.object({ val_bpb: z.number() }).optional(),
  spent_usdc: z.string(),
  reason: z.string().optional(),
  results: z.array(
    z.object({
      experiment_id: z.string(),
      state: z.string(),
      description: z.string(),
      role: z.string().optional(),
      val_bpb: z.number().optional(),
      verdict: z.string().optional(),
    }),
  ),
});
export type LoopAnswer = z.infer<typeof LoopAnswerSchema>;

const PaidExperiment = z.object({
  experiment_id: z.string(),
  loop_id: z.string().nullable(),
  state: z.string(),
  worker_endpoint: z.string(),
  price_atomic: z.string(),
  payment_tx: z.string().nullable(),
  val_bpb: z.number().nullable(),
});
export type PaidExperiment = z.infer<typeof PaidExperiment>;

const Board = z.object({
  standings: z.array(
    z.object({
      rank: z.number(),
      val_bpb: z.number().optional(),
      verdict: z.string().optional(),
      description: z.string().optional(),
    }),
  ),
  sparkline: z.string(),
  results_path: z.string(),
  chart_path: z.string().optional(),
});

const CHART_WAIT_MS = 8_000;
const RECORDS_WAIT_MS = 20_000;
const END_WAIT_MS = 5_000;

/** An agent in miniature: a real MCP client on stdio, its tool calls, and nothing that a client could not do. */
export class DemoAgent {
  readonly #env: Record<string, string>;
  readonly #client = new Client({ name: 'autoresearch-demo-agent', version: VERSION });
  #closing: Promise<void> | undefined;

  constructor(env: Readonly<Record<string, string>>) {
    const inherited = Object.entries(process.env).flatMap(([name, value]) =>
      ['PATH', 'HOME', 'TMPDIR'].includes(name) && value !== undefined ? [[name, value] as const] : [],
    );
    this.#env = { ...Object.fromEntries(inherited), LOG_LEVEL: 'error', ...env };
  }

  async connect(): Promise<void> {
    const [, script = ''] = process.argv;
    await this.#client.connect(
      new StdioClientTransport({ command: process.execPath, args: [script], env: this.#env, stderr: 'inherit' }),
    );
    await this.#client.listTools();
  }

  async discover() {
    return (await this.#call(Workers, 'discover_workers', { with_prices: true })).workers;
  }

  /** Starts a loop and waits for its unchanged run. */
  async startLoop(
    trainPy: string,
    rounds: number,
    parallel: number,
    report: (text: string) => void,
  ): Promise<LoopAnswer> {
    const loop = await this.#call(LoopAnswerSchema, 'run_loop', {
      action: 'start',
      train_py: trainPy,
      rounds,
      parallel,
      agent: 'demo',
      wait_seconds: 1,
    });
    return this.#untilIdle(loop, report);
  }

  async continueLoop(loopId: string, ideas: readonly Idea[], report: (text: string) => void): Promise<LoopAnswer> {
    const proposals = ideas.map(({ edits, hypothesis }) => ({ edits, hypothesis }));
    return this.#untilIdle(
      await this.#call(LoopAnswerSchema, 'run_loop', {
        action: 'continue',
        loop_id: loopId,
        proposals,
        wait_seconds: 1,
      }),
      report,
    );
  }

  async #untilIdle(first: LoopAnswer, report: (text: string) => void): Promise<LoopAnswer> {
    let loop = first;
    for (let shown = ''; loop.state === 'running'; ) {
      if (loop.summary !== shown) report(loop.summary);
      shown = loop.summary;
      loop = await this.#call(LoopAnswerSchema, 'run_loop', {
        action: 'status',
        loop_id: loop.loop_id,
        wait_seconds: 1,
      });
    }
    if (loop.reason !== undefined) report(loop.reason);
    return loop;
  }

  /** The THINK text, by the prompt. */
  async think(loopId: string): Promise<string> {
    const prompt = await this.#client.getPrompt({ name: 'think', arguments: { loop_id: loopId } });
    return prompt.messages.map(({ content }) => (content.type === 'text' ? content.text : '')).join('\n');
  }

  /** Every run of a loop as its published record tells of it, once all of them are published. */
  async listExperiments(
    { loop_id, rounds_done, extra_runs }: LoopAnswer,
    resultsPath: string,
  ): Promise<PaidExperiment[]> {
    const deadlineMs = performance.now() + RECORDS_WAIT_MS;
    for (;;) {
      const text = await readFile(resultsPath, 'utf8').catch(() => '');
      const records = text.split('\n').flatMap((line) => (line === '' ? [] : [PaidExperiment.parse(JSON.parse(line))]));
      const ours = records.filter((record) => record.loop_id === loop_id);
      // The first, unchanged run is neither a round nor an extra one.
      if (ours.length >= 1 + rounds_done + extra_runs || performance.now() > deadlineMs) return ours;
      await sleep(200);
    }
  }

  async leaderboard() {
    return this.#call(Board, 'get_leaderboard', { limit: 10 });
  }

  /** The chart is drawn shortly after the last record. */
  async waitForChart(): Promise<string | null> {
    const deadlineMs = performance.now() + CHART_WAIT_MS;
    for (;;) {
      const { chart_path } = await this.leaderboard();
      if (chart_path !== undefined && existsSync(chart_path)) return chart_path;
      if (performance.now() > deadlineMs) return null;
      await sleep(200);
    }
  }

  /** Leaves the server, and ends the runner that it started: the network that it works with is about to end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const readRunner = () =>
      this.#call(z.object({ runner_pid: z.number().optional() }), 'get_status', {}).then((status) => status.runner_pid);
    try {
      const pid = await readRunner();
      if (pid !== undefined) process.kill(pid, 'SIGTERM');
      const deadlineMs = performance.now() + END_WAIT_MS;
      // Its lease is gone when it has finished; its process id may linger until somebody reaps it.
      while ((await readRunner()) !== undefined && performance.now() < deadlineMs) await sleep(50);
    } catch {
      // Without an answer there is nobody to end.
    }
    await this.#client.close();
  }

  async #call<T>(schema: z.ZodType<T>, name: string, args: Record<string, unknown>): Promise<T> {
    const result = await this.#client.callTool({ name, arguments: args });
    const parsed = schema.safeParse(result.structuredContent);
    if (parsed.success) return parsed.data;
    throw new LocalnetPartError('MCP server', `answered ${name} with ${JSON.stringify(result.content).slice(0, 400)}`);
  }
}
