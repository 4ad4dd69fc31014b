import type { Log } from './base/log.ts';
import { sleep } from './base/time.ts';
import type { NewInsight } from './campaign/insights.ts';
import type { Config } from './config.ts';
import type { CallContext, SubmitInput } from './coordinator/experiments.ts';
import type { NotedProposal } from './coordinator/loop-notes.ts';
import type { StartLoopInput } from './coordinator/loops.ts';
import type { Services } from './coordinator/services.ts';
import type { LeaderboardInput } from './coordinator/standing.ts';
import type { DiscoverInput } from './coordinator/workers.ts';

export interface CoordinatorOptions {
  readonly config: Config;
  readonly version: string;
  readonly log: Log;
  /** Program and arguments that start a runner of the same data folder. */
  readonly runnerCommand: readonly string[];
}

export type LoopAction =
  | { readonly action: 'start' | 'estimate'; readonly start: StartLoopInput }
  | {
      readonly action: 'continue';
      readonly loopId: string;
      readonly proposals: readonly NotedProposal[];
      readonly insights?: readonly NewInsight[] | undefined;
    }
  | { readonly action: 'status' | 'stop'; readonly loopId: string };

/** Half the time for which a dead runner's lease lasts, in milliseconds. */
const LOOK_AGAIN_MS = 5_000;

/**
 * What tools and commands call. The store, the wallet and the network code are loaded with the first call that needs
 * them, so that a server is ready before that.
 */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #closing = new AbortController();
  #opened: Promise<Opened> | undefined;
  #watching: Promise<void> | undefined;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
  }

  get config(): Config {
    return this.#options.config;
  }

  /** The wired parts, for commands that look behind the scenes. */
  async services(): Promise<Services> {
    return (await this.#open()).services;
  }

  /**
   * Starts a runner if there is open work, and looks again while there is: a runner may die at any moment, also between
   * the end of an experiment and its export, when nobody asks for it any more.
   */
  resume(): Promise<void> {
    this.#watching ??= this.#watch().finally(() => {
      this.#watching = undefined;
    });
    return this.#watching;
  }

  async #watch(): Promise<void> {
    const { hasOpenWork } = await import('./coordinator/open-work.ts');
    const { signal } = this.#closing;
    let look: 'first' | 'later' = 'first';
    while (!signal.aborted && (await hasOpenWork(this.config.dataDir, look))) {
      look = 'later';
      const { services, runner } = await this.#open();
      if (!signal.aborted) await runner.ensure(services);
      await sleep(LOOK_AGAIN_MS, signal);
    }
  }

  async discover(input: DiscoverInput) {
    const { services } = await this.#open();
    const { discoverWorkers } = await import('./coordinator/workers.ts');
    return discoverWorkers(services, input);
  }

  async probe(worker: string, signal?: AbortSignal) {
    const { services } = await this.#open();
    const { probeWorker } = await import('./coordinator/probe.ts');
    return probeWorker(services, worker, signal);
  }

  async submit(input: SubmitInput, call: CallContext) {
    const { services, runner } = await this.#open();
    const { submitExperiment } = await import('./coordinator/experiments.ts');
    const experiment = await submitExperiment(services, runner, input, call);
    this.#watchAside();
    return experiment;
  }

  /** Watches over what a call has started, after the call. */
  #watchAside(): void {
    this.resume().catch((error: unknown) => this.#options.log.warn({ error }, 'open work could not be watched'));
  }

  async getExperiment(experimentId: string, waitSeconds: number, call: CallContext) {
    const { services, runner } = await this.#open();
    const { followExperiment } = await import('./coordinator/experiments.ts');
    return followExperiment(services, runner, experimentId, waitSeconds, call);
  }

  async cancelExperiment(experimentId: string) {
    const { services } = await this.#open();
    const { cancelExperiment } = await import('./coordinator/experiments.ts');
    return cancelExperiment(services, experimentId);
  }

  /** The newest experiments, or the newest of those that hold every word of `search`. */
  async listExperiments(limit: number, search?: string) {
    const { services, experiments } = await this.#open();
    const { viewExperiment } = await import('./coordinator/experiment-view.ts');
    const found =
      search === undefined
        ? await experiments.loadExperiments(services.db, { limit })
        : await this.#search(search, limit);
    return Promise.all(found.map((experiment) => viewExperiment(services.db, experiment, services.clock.nowMs())));
  }

  async #search(text: string, limit: number) {
    const { services, experiments } = await this.#open();
    const { searchExperiments } = await import('./leaderboard/search.ts');
    const { ids } = await searchExperiments(services.db, { words: text, limit });
    const found = await Promise.all(ids.map((id) => experiments.loadExperiment(services.db, id)));
    return found.filter((experiment) => experiment !== undefined);
  }

  async feedback(experimentId: string, send: boolean) {
    const { services } = await this.#open();
    const { giveFeedback } = await import('./coordinator/feedback.ts');
    return giveFeedback(services, experimentId, send);
  }

  async leaderboard(input: LeaderboardInput) {
    const { services } = await this.#open();
    const { readLeaderboard } = await import('./coordinator/leaderboard.ts');
    return readLeaderboard(services, input);
  }

  async loop(input: LoopAction, waitSeconds: number, call: CallContext) {
    const loop = await this.#actOnLoop(input, waitSeconds, call);
    this.#watchAside();
    return loop;
  }

  async #actOnLoop(input: LoopAction, waitSeconds: number, call: CallContext) {
    const { services, runner } = await this.#open();
    const [{ continueLoop, startLoop, stopLoop }, { followLoop }] = await Promise.all([
      import('./coordinator/loops.ts'),
      import('./coordinator/loop-view.ts'),
    ]);
    switch (input.action) {
      case 'estimate': {
        const { estimateLoop, viewEstimate } = await import('./coordinator/loop-estimate.ts');
        return viewEstimate(await estimateLoop(services, input.start), input.start.rounds);
      }
      case 'start': {
        const loopId = await startLoop(services, input.start);
        return followLoop(services, runner, loopId, waitSeconds, call);
      }
      case 'continue': {
        const { takeNotes } = await import('./coordinator/loop-notes.ts');
        const runnable = await takeNotes(services, input.loopId, input.proposals, input.insights ?? []);
        const report = await continueLoop(services, input.loopId, runnable);
        return followLoop(services, runner, input.loopId, waitSeconds, call, report);
      }
      case 'stop':
        await stopLoop(services, input.loopId);
        return followLoop(services, runner, input.loopId, waitSeconds, call);
      case 'status':
        return followLoop(services, runner, input.loopId, waitSeconds, call);
    }
  }

  /** THINK of a loop, of the latest one, or how to begin when there is none. */
  async think(loopId: string | null, trainPath: string | null, focus: string | null): Promise<string> {
    const { services } = await this.#open();
    const { renderThinkPrompt } = await import('./coordinator/loop-think.ts');
    return renderThinkPrompt(services, loopId, trainPath, focus);
  }

  async status() {
    const { services } = await this.#open();
    const { readStatus } = await import('./coordinator/status.ts');
    return readStatus(services);
  }

  async wallet() {
    const { services } = await this.#open();
    const { readWallet } = await import('./coordinator/wallet-view.ts');
    return readWallet(services);
  }

  /** A source by its hash; undefined when there is none. */
  async source(trainHash: string): Promise<string | undefined> {
    const { services } = await this.#open();
    const { loadSource } = await import('./provenance/sources.ts');
    return loadSource(services.db, trainHash);
  }

  /** Chart of a loop as SVG, or of everything. */
  async chart(loopId: string | null): Promise<string> {
    const { services } = await this.#open();
    const [{ drawChart }, { loadLuckLine }] = await Promise.all([
      import('./leaderboard/charts.ts'),
      import('./campaign/luck.ts'),
    ]);
    const luckLine = loopId === null ? null : await loadLuckLine(services.db, loopId);
    return drawChart(services.db, loopId, luckLine);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.services.close();
  }

  #open(): Promise<Opened> {
    this.#opened ??= open(this.#options).catch((error: unknown) => {
      // What is wrong may be mended: the next call tries again.
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }
}

async function open({ config, version, log, runnerCommand }: CoordinatorOptions) {
  const [{ openServices }, { RunnerStarter }, experiments] = await Promise.all([
    import('./coordinator/services.ts'),
    import('./coordinator/spawn-runner.ts'),
    import('./experiment/experiment.ts'),
  ]);
  return {
    services: await openServices(config, version, log),
    runner: new RunnerStarter(runnerCommand),
    experiments,
  };
}

type Opened = Awaited<ReturnType<typeof open>>;
