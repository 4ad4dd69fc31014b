import { sha256 } from '../../src/base/hash.ts';
import { loadChampion } from '../../src/campaign/champion.ts';
import { loadScoredRuns } from '../../src/campaign/evidence.ts';
import { type Loop, type QueuedProposal, toQueued } from '../../src/campaign/loop.ts';
import { findLeader, type Prospect, rankProspects } from '../../src/campaign/prospects.ts';
import { loadTitles } from '../../src/campaign/titles.ts';
import { loadTask } from '../../src/experiment/lineage-task.ts';
import { createVariant } from '../../src/experiment/variant.ts';
import { loadSource, saveSource } from '../../src/provenance/sources.ts';
import type { Db } from '../../src/store/database.ts';
import { ideasOf, withIdea } from './field.ts';

/** The champion of a loop, or what it started from. */
export async function loadChampionSource(db: Db, loopId: string, root: string): Promise<string> {
  const champion = await loadChampion(db, sha256(root), loopId);
  return (champion && (await loadSource(db, champion.trainHash))) ?? root;
}

/** Proposes one idea after the other, as the built-in proposer does: on top of what is expected to be best. */
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
  async design({ loopId, rootHash }: Loop, count: number, nowMs: number): Promise<QueuedProposal[]> {
    if (count <= 0) return [];
    const [task, runs, titles] = await Promise.all([
      loadTask(this.#db, rootHash),
      loadScoredRuns(this.#db, { rootHash, scope: loopId }),
      loadTitles(this.#db, { scope: loopId }),
    ]);
    const prospects = rankProspects({ task, loopId, runs, titles });
    const leader = findLeader(prospects);
    const source = leader && (await loadSource(this.#db, leader.run.trainHash));
    const base = source ?? (await loadChampionSource(this.#db, loopId, this.#root));
    const again = await this.#listMissed(prospects, base);
    const queue: QueuedProposal[] = [];
    while (queue.length < count) queue.push(await this.#propose(base, again.shift() ?? this.#nextIdea(), nowMs));
    return queue;
  }

  #nextIdea(): number {
    this.#newest += 1;
    return this.#newest;
  }

  /** Ideas that are expected to help and are not in what is built on: each is tried once more on top of it. */
  async #listMissed(prospects: readonly Prospect[], base: string): Promise<number[]> {
    const missed: number[] = [];
    for (const { run, ownGain } of prospects.toSorted((a, b) => b.ownGain - a.ownGain)) {
      if (ownGain <= 0) break;
      const source = (await loadSource(this.#db, run.trainHash)) ?? '';
      const idea = ideasOf(source).at(-1);
      const isIn = idea === undefined || ideasOf(base).includes(idea) || this.#again.has(idea);
      // Beside the same base nothing is new.
      if (isIn || `${ideasOf(source).slice(0, -1)}` === `${ideasOf(base)}`) continue;
      this.#again.add(idea);
      missed.push(idea);
    }
    return missed;
  }

  async #propose(base: string, idea: number, nowMs: number): Promise<QueuedProposal> {
    const variant = createVariant({ source: withIdea(base, idea), base, edits: [], config: {} });
    await this.#db.transaction().execute((trx) => saveSource(trx, variant.trainHash, variant.source, nowMs));
    return toQueued(variant, null);
  }
}
