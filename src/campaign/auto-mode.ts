import { sha256 } from '../base/hash.ts';
import type { Experiment } from '../experiment/experiment.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import type { ExperimentState } from '../experiment/states.ts';
import type { Task } from '../experiment/task-schema.ts';
import { createVariant, hashVariant } from '../experiment/variant.ts';
import { loadSource, saveSource } from '../provenance/sources.ts';
import type { Db } from '../store/database.ts';
import { findChampion, findSigma } from './champion.ts';
import { compareRuns } from './confirm.ts';
import { doesCount, loadScoredRuns, type ScoredRun } from './evidence.ts';
import type { Champion } from './judge.ts';
import { type Loop, type QueuedProposal, toQueued } from './loop.ts';
import type { LoopProgress } from './loop-engine.ts';
import type { Observation } from './proposer/evidence.ts';
import { type AutoProposal, propose } from './proposer/propose.ts';
import { type Point, type Program, readPoint } from './proposer/space.ts';
import { findLeader, rankProspects } from './prospects.ts';
import { loadTitles } from './titles.ts';

/** Whether a variant may run at all: what a person's proposals have to pass, too. */
export type VariantCheck = (loop: Loop, program: Program, parent: Program) => Promise<boolean>;

/** Runs of one variant, whatever their seeds, as one observation. */
interface Family extends Observation {
  /** Its first run. */
  readonly run: Experiment;
  /** Ids of all its runs. */
  readonly ids: ReadonlySet<string>;
}

/** What scores are put on one scale by. */
interface Scale {
  readonly task: Task;
  /** Scored runs of the lineage. */
  readonly runs: readonly ScoredRun[];
  readonly champion: Champion;
  /** Runs that may be built on, with what their variants are expected to score; they are never left out. */
  readonly bases: readonly { readonly experimentId: string; readonly score: number }[];
}

/** Ends at which nobody was paid: such a variant was not tried. */
const NOT_TRIED: readonly ExperimentState[] = ['refused', 'unpaid', 'cancelled'];
/** A variant that nobody would run is not proposed for ever. */
const MAX_TRIES = 2;
/** Proposals that are looked at beyond those wanted, since the check may refuse some. */
const SPARE = 8;
const MAX_REMEMBERED = 5_000;

/** Designs the next experiments of loops that run without a model. */
export class AutoDesigner {
  readonly #db: Db;
  readonly #check: VariantCheck;
  /** `train_hash config` → knobs: sources never change, and loops have many runs. */
  readonly #points = new Map<string, Point>();
  /** Hashes of variants that the check refused. */
  readonly #refused = new Set<string>();
  /** Loop → how many runs were over when nothing was left to propose. */
  readonly #exhausted = new Map<string, number>();

  constructor(db: Db, check: VariantCheck) {
    this.#db = db;
    this.#check = check;
  }

  /** @returns at most `count` variants, their sources stored; none when nothing is left to try for now */
  async design(loop: Loop, progress: LoopProgress, count: number, nowMs: number): Promise<QueuedProposal[]> {
    const over = progress.runs.length - progress.inFlight;
    if (this.#exhausted.get(loop.loopId) === over) return [];
    const queued = await this.#propose(loop, progress.runs, count, nowMs);
    if (queued.length === 0) this.#exhausted.set(loop.loopId, over);
    return queued;
  }

  async #propose(loop: Loop, runs: readonly Experiment[], count: number, nowMs: number): Promise<QueuedProposal[]> {
    const task = await loadTask(this.#db, loop.rootHash);
    const [scored, titles, pending] = await Promise.all([
      loadScoredRuns(this.#db, { rootHash: loop.rootHash, scope: loop.loopId }),
      loadTitles(this.#db, { scope: loop.loopId }),
      this.#findPending(loop, runs),
    ]);
    const champion = findChampion(titles, scored, task);
    if (!champion) return [];
    const leader = findLeader(rankProspects({ task, loopId: loop.loopId, runs: scored, titles }));
    const bases = [
      ...(leader ? [{ experimentId: leader.run.experimentId, score: champion.valBpb - leader.gain }] : []),
      { experimentId: champion.experimentId, score: champion.valBpb },
    ];
    const families = await this.#observe(runs, { task, runs: scored, champion, bases });
    const isKnown = task.lockedKnobs.length > 0;
    const known = {
      observations: families,
      taken: new Set([...listTried(runs), ...loop.queue.map(hashOfQueued), ...this.#refused]),
      pending,
      sigma: findSigma(scored, task),
      locked: isKnown ? new Set([...task.lockedKnobs, ...(task.seedKnob === null ? [] : [task.seedKnob])]) : null,
      ranges: task.knobRanges,
      seed: loop.rootHash,
      count: count + SPARE,
    };
    for (const { experimentId, score } of bases) {
      const observation = families.find(({ ids }) => ids.has(experimentId));
      const source = observation && (await loadSource(this.#db, observation.run.trainHash));
      if (!observation || source === undefined) continue;
      const program = { source, config: observation.run.config };
      const proposals = propose({ ...known, base: { program, score, observation } });
      const queued = await this.#accept(loop, proposals, program, count, nowMs);
      if (queued.length > 0) return queued;
    }
    return [];
  }

  /** The first proposals that the check lets pass, stored. */
  async #accept(loop: Loop, proposals: readonly AutoProposal[], base: Program, count: number, nowMs: number) {
    const queued: QueuedProposal[] = [];
    for (const { program, variantHash, hypothesis } of proposals) {
      if (queued.length >= count) break;
      if (await this.#check(loop, program, base)) queued.push(await this.#save(program, base, hypothesis, nowMs));
      else this.#refused.add(variantHash);
    }
    return queued;
  }

  async #save(made: Program, base: Program, hypothesis: string, nowMs: number): Promise<QueuedProposal> {
    const { source, config } = made;
    const parent = { base: base.source, baseConfig: base.config };
    const variant = createVariant({ ...parent, source, edits: [], config });
    await this.#db.transaction().execute((trx) => saveSource(trx, variant.trainHash, source, nowMs));
    return toQueued(variant, hypothesis);
  }

  /** What the runs of a loop tell, oldest first; what cannot be compared with the champion is left out. */
  async #observe(runs: readonly Experiment[], scale: Scale): Promise<Family[]> {
    const baseOf = (ids: ReadonlySet<string>) => scale.bases.find(({ experimentId }) => ids.has(experimentId));
    const tried = runs.filter(
      ({ experimentId, judgement }) =>
        (judgement !== null && TELLING.includes(judgement.verdict)) || baseOf(new Set([experimentId])),
    );
    const groups = new Map<string, { point: Point; runs: Experiment[] }>();
    const idOf = new Map<string, string>();
    for (const run of tried) {
      const point = await this.#readPoint(run.trainHash, run.config);
      if (!point) continue;
      const id = nameFamily(point, scale.task.seedKnob);
      idOf.set(run.experimentId, id);
      const group = groups.get(id);
      if (group) group.runs.push(run);
      else groups.set(id, { point, runs: [run] });
    }
    return [...groups].flatMap(([id, group]) => {
      const [run] = group.runs;
      const ids = new Set<string>(group.runs.map(({ experimentId }) => experimentId));
      const isScored = group.runs.some(({ valBpb }) => valBpb !== null);
      const known = isScored ? scoreOf(ids, scale) : null;
      const score = known ?? baseOf(ids)?.score ?? known;
      if (!run || score === undefined) return [];
      const parent = findParent(run, tried);
      return [{ id, point: group.point, score, run, ids, parentId: (parent && idOf.get(parent)) ?? null }];
    });
  }

  async #findPending({ queue }: Loop, runs: readonly Experiment[]): Promise<Point[]> {
    const waiting = [...queue, ...runs.filter(({ finishedAtMs, judgement }) => finishedAtMs === null && !judgement)];
    const points = await Promise.all(waiting.map(({ trainHash, config }) => this.#readPoint(trainHash, config)));
    return points.filter((point) => point !== null);
  }

  async #readPoint(trainHash: string, config: Program['config']): Promise<Point | null> {
    const key = `${trainHash} ${JSON.stringify(config)}`;
    const known = this.#points.get(key);
    if (known) return known;
    const source = await loadSource(this.#db, trainHash);
    if (source === undefined) return null;
    const point = readPoint({ source, config });
    if (this.#points.size >= MAX_REMEMBERED) this.#points.clear();
    this.#points.set(key, point);
    return point;
  }
}

/** Verdicts that say something about the variant rather than about the worker. */
const TELLING: readonly string[] = ['BASELINE', 'KEEP', 'KEEP-SIMPLER', 'RETEST', 'DISCARD', 'FAILED'];

/** What some runs would score where the champion ran; undefined when they have no tier in common. */
function scoreOf(ids: ReadonlySet<string>, { task, runs, champion }: Scale): number | undefined {
  const own = runs.filter((run) => ids.has(run.experimentId) && doesCount(run));
  const compared = compareRuns(own, champion.evidence, { task, runs });
  return compared ? champion.valBpb - compared.delta : undefined;
}

function nameFamily({ rest, values }: Point, seedKnob: string | null): string {
  const own = [...values].filter(([key]) => key !== seedKnob);
  return sha256(JSON.stringify([rest, own]));
}

/** Run that another was made from, else what it was judged by. */
function findParent(run: Experiment, runs: readonly Experiment[]): string | null {
  const others = runs.filter(({ variantHash }) => variantHash !== run.variantHash);
  const parent =
    others.find((other) => other.variantHash === run.parentVariantHash) ??
    others.find((other) => other.experimentId === run.judgement?.championId);
  return parent?.experimentId ?? null;
}

function listTried(runs: readonly Experiment[]): string[] {
  const futile = runs.filter(({ state }) => NOT_TRIED.includes(state));
  const isHopeless = ({ variantHash }: Experiment) =>
    futile.filter((run) => run.variantHash === variantHash).length >= MAX_TRIES;
  return runs.filter((run) => !futile.includes(run) || isHopeless(run)).map(({ variantHash }) => variantHash);
}

function hashOfQueued({ trainHash, config }: QueuedProposal): string {
  return hashVariant(trainHash, config);
}
