import { sha256 } from '../../src/base/hash.ts';
import { loadChampion } from '../../src/campaign/champion.ts';
import type { Loop, QueuedProposal } from '../../src/campaign/loop.ts';
import type { Experiment } from '../../src/experiment/experiment.ts';
import { createVariant } from '../../src/experiment/variant.ts';
import { loadSource, saveSource } from '../../src/provenance/sources.ts';
import type { Db } from '../../src/store/database.ts';
import { ideasOf, withIdea } from './field.ts';

/** The champion of a loop, or what it started from. */
export async function loadChampionSource(db: Db, loopId: string, root: string): Promise<string> {
  const champion = await loadChampion(db, sha256(root), loopId);
  return (champion && (await loadSource(db, champion.trainHash))) ?? root;
}

/** Proposes one idea after the other, as the built-in proposer does: on top of the best that was kept. */
export class Agent {
  readonly #db: Db;
  readonly #root: string;
  readonly #again = new Set<number>();
  #newest = 0;

  constructor(db: Db, root: string) {
    this.#db = db;
    this.#root = root;
  }

  /** @param count none when it is not positive */
  async design({ loopId }: Loop, runs: readonly Experiment[], count: number, nowMs: number): Promise<QueuedProposal[]> {
    if (count <= 0) return [];
    const base = await this.#loadBase(loopId, runs);
    const again = await this.#listMissed(runs, base);
    const queue: QueuedProposal[] = [];
    while (queue.length < count) queue.push(await this.#propose(base, again.shift() ?? this.#nextIdea(), nowMs));
    return queue;
  }

  #nextIdea(): number {
    this.#newest += 1;
    return this.#newest;
  }

  /** What to build on: the best that was kept and not refuted yet, if it was made from the champion; else that one. */
  async #loadBase(loopId: string, runs: readonly Experiment[]): Promise<string> {
    const champion = await loadChampionSource(this.#db, loopId, this.#root);
    let best = { source: champion, z: 0 };
    for (const run of runs) {
      const z = run.judgement?.z ?? 0;
      if (run.role !== 'round' || run.judgement?.verdict !== 'KEEP' || z <= best.z) continue;
      const isRefuted = runs.some(
        ({ auditOf, judgement }) => auditOf === run.experimentId && judgement !== null && judgement.verdict !== 'KEEP',
      );
      const source = (await loadSource(this.#db, run.trainHash)) ?? '';
      if (!isRefuted && ideasOf(champion).every((idea) => ideasOf(source).includes(idea))) best = { source, z };
    }
    return best.source;
  }

  /** Ideas that were better than the champion of their time and came too late: each is tried once more on this one. */
  async #listMissed(runs: readonly Experiment[], base: string): Promise<number[]> {
    const open = new Set(runs.filter((run) => run.finishedAtMs === null).map(({ auditOf }) => auditOf));
    const missed: number[] = [];
    for (const run of runs) {
      if (!run.judgement?.verdict.startsWith('KEEP') || (run.role !== 'round' && run.role !== 'retest')) continue;
      if (open.has(run.experimentId) || (run.auditOf !== null && open.has(run.auditOf))) continue;
      const source = (await loadSource(this.#db, run.trainHash)) ?? '';
      const idea = ideasOf(source).at(-1);
      const isIn = idea === undefined || ideasOf(base).includes(idea) || this.#again.has(idea);
      // Beside the same champion nothing is new.
      if (isIn || ideasOf(base).length < ideasOf(source).length) continue;
      this.#again.add(idea);
      missed.push(idea);
    }
    return missed;
  }

  async #propose(base: string, idea: number, nowMs: number): Promise<QueuedProposal> {
    const variant = createVariant({ source: withIdea(base, idea), base, edits: [], config: {} });
    await this.#db.transaction().execute((trx) => saveSource(trx, variant.trainHash, variant.source, nowMs));
    const { trainHash, parentHash, config, description } = variant;
    return { trainHash, parentHash, config, description, hypothesis: null };
  }
}
