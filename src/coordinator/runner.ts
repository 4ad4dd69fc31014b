import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../base/time.ts';
import { AutoDesigner } from '../campaign/auto-mode.ts';
import { type Designer, LoopEngine } from '../campaign/loop-engine.ts';
import { loadLuckLine } from '../campaign/luck.ts';
import { renewClaims } from '../experiment/claims.ts';
import { DEFAULT_PATIENCE } from '../experiment/drive.ts';
import { ExperimentEngine } from '../experiment/engine.ts';
import { expireOtherLeases, releaseLeases, renewLeases } from '../experiment/leases.ts';
import { sweepAuthorizations } from '../experiment/sweep.ts';
import { exportChart } from '../leaderboard/charts.ts';
import { exportRecords, loadNewestSeq } from '../provenance/export.ts';
import { acquireRunnerLease, releaseRunnerLease } from '../store/runner-lease.ts';
import { isClean } from './gate.ts';
import { createPorts } from './ports.ts';
import { readCaps, type Services } from './services.ts';

const TICK_MS = 150;
const RENEW_MS = 3_000;
const SWEEP_MS = 5_000;
/** Drawing takes a good part of a second, which running experiments should not wait for. */
const DRAW_EVERY_MS = 10_000;

/** Executes the queued work of one data folder; at most one runner of a folder does. */
export class Runner {
  readonly #services: Services;
  readonly #owner = `${hostname()}:${process.pid}:${randomBytes(4).toString('hex')}`;
  readonly #engine: ExperimentEngine;
  readonly #loops: LoopEngine;
  #openAuthorizations = 0;
  #exportedSeq = -1;
  /** Loops whose chart is out of date; null stands for the chart of everything. */
  readonly #staleCharts = new Set<string | null>();
  #drawnAtMs = 0;
  #sweeping: Promise<void> | undefined;

  constructor(services: Services) {
    this.#services = services;
    this.#engine = new ExperimentEngine(createPorts(services, DEFAULT_PATIENCE), this.#owner);
    const designer = new AutoDesigner(services.db, ({ rootHash }, program, parent) =>
      isClean(services, rootHash, program, parent),
    );
    const { db, clock, log, config } = services;
    const design: Designer = (...args) => designer.design(...args);
    this.#loops = new LoopEngine(db, clock, log, design, readCaps(config));
  }

  /**
   * Works until there has been nothing to do for a while, the signal fires, or the data folder vanishes.
   * @param idleMs how long to stay without work, milliseconds
   * @returns false when another runner has the folder
   */
  async run(idleMs: number, signal: AbortSignal): Promise<boolean> {
    const { db, clock, log, folder } = this.#services;
    if (!(await acquireRunnerLease(db, this.#owner, clock.nowMs()))) return false;
    log.info({ owner: this.#owner }, 'runner started');
    // Whoever had leases before held the runner's lease before, and has it no more.
    await expireOtherLeases(db, this.#owner);
    try {
      await this.#work(idleMs, signal);
    } finally {
      await Promise.all([this.#engine.stop(), this.#sweeping]);
      if (existsSync(join(folder, 'store.sqlite'))) await this.#leave();
      log.info({ owner: this.#owner }, 'runner ended');
    }
    return true;
  }

  async #work(idleMs: number, signal: AbortSignal): Promise<void> {
    const { clock, folder } = this.#services;
    let busyAtMs = clock.nowMs();
    let renewedAtMs = clock.nowMs();
    let sweptAtMs = 0;
    await this.#export();
    while (!signal.aborted && existsSync(join(folder, 'store.sqlite'))) {
      const nowMs = clock.nowMs();
      if (nowMs - renewedAtMs > RENEW_MS) {
        if (!(await this.#renew(nowMs))) return;
        renewedAtMs = nowMs;
      }
      if (nowMs - sweptAtMs > SWEEP_MS) {
        // Not waited for: a node that does not answer would hold up the leases past their time.
        this.#sweeping ??= this.#sweep().finally(() => {
          this.#sweeping = undefined;
        });
        sweptAtMs = nowMs;
      }
      if (await this.#tick()) busyAtMs = clock.nowMs();
      if (clock.nowMs() - busyAtMs > idleMs) return;
      await sleep(TICK_MS, signal);
    }
  }

  async #sweep(): Promise<void> {
    try {
      this.#openAuthorizations = await sweepAuthorizations(this.#services);
    } catch (error) {
      this.#services.log.warn({ error }, 'open authorizations could not be checked');
    }
  }

  /** @returns whether there is work */
  async #tick(): Promise<boolean> {
    const loops = await this.#loops.tick();
    await this.#engine.tick();
    await this.#export();
    await this.#draw();
    return loops > 0 || this.#engine.activeCount > 0 || this.#openAuthorizations > 0;
  }

  /** Exports what was published since the last time. */
  async #export(): Promise<void> {
    const { db, folder } = this.#services;
    const seq = await loadNewestSeq(db);
    if (seq === this.#exportedSeq) return;
    for (const loopId of await exportRecords(db, folder)) this.#staleCharts.add(null).add(loopId);
    this.#exportedSeq = seq;
  }

  /** Draws charts that are out of date, when nothing else is to be done or they were left too long. */
  async #draw(): Promise<void> {
    const { db, folder, clock, log } = this.#services;
    const isLongAgo = clock.nowMs() - this.#drawnAtMs > DRAW_EVERY_MS;
    if (this.#staleCharts.size === 0 || (this.#engine.activeCount > 0 && !isLongAgo)) return;
    for (const loopId of this.#staleCharts) {
      this.#staleCharts.delete(loopId);
      const luckLine = loopId === null ? null : await loadLuckLine(db, loopId);
      await exportChart(db, folder, loopId, luckLine).catch((error: unknown) =>
        log.warn({ error }, 'a chart could not be drawn'),
      );
    }
    this.#drawnAtMs = clock.nowMs();
  }

  async #renew(nowMs: number): Promise<boolean> {
    const { db, log } = this.#services;
    if (!(await acquireRunnerLease(db, this.#owner, nowMs))) {
      log.warn({ owner: this.#owner }, 'another runner has taken over');
      return false;
    }
    await renewLeases(db, this.#owner, nowMs);
    await renewClaims(db, nowMs);
    return true;
  }

  async #leave(): Promise<void> {
    const { db } = this.#services;
    await this.#export();
    await this.#draw();
    await releaseLeases(db, this.#owner);
    await releaseRunnerLease(db, this.#owner);
  }
}
