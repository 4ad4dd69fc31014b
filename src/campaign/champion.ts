import { loadTask } from '../experiment/lineage-task.ts';
import type { Task } from '../experiment/task-schema.ts';
import type { Db, Trx } from '../store/database.ts';
import { decideTitle, type TitleFacts } from './confirm.ts';
import { groupBy, loadScoredRuns, mean, type ScoredRun } from './evidence.ts';
import { estimateFrom, gatherEvidence, onMainTier } from './family.ts';
import type { Champion } from './judge.ts';
import { estimateNoise } from './noise.ts';
import { loadTitles, passTitle, scopeOf, type Title } from './titles.ts';

/**
 * The champion of a loop, or of everything that ran of a script: a confirmed one before others.
 * @param loopId null: over all loops and the experiments outside them
 */
export async function loadChampion(db: Db, rootHash: string, loopId: string | null): Promise<Champion | null> {
  const titles = await loadTitles(db, loopId === null ? { rootHash } : { scope: loopId });
  if (titles.length === 0) return null;
  const filter = loopId === null ? { rootHash } : { rootHash, scope: loopId };
  const [runs, task] = await Promise.all([loadScoredRuns(db, filter), loadTask(db, rootHash)]);
  return findChampion(titles, runs, task);
}

/** The best of the holders of these titles, those that are verified first. */
export function findChampion(titles: readonly Title[], runs: readonly ScoredRun[], task: Task): Champion | null {
  const holders = new Map(titles.toSorted((a, b) => a.seq - b.seq).map((title) => [title.scope, title]));
  const held = [...holders.values()].flatMap((title) => {
    const selecting = runs.find(({ experimentId }) => experimentId === title.experimentId);
    return selecting ? [{ title, selecting }] : [];
  });
  // A program that holds the titles of many loops is one champion.
  const champions = groupBy(held, ({ title }) => title.variantHash).flatMap((same) => {
    const [first] = same.toSorted((a, b) => Number(b.title.verified) - Number(a.title.verified));
    return first ? [describeChampion(first.title, first.selecting, runs, task)] : [];
  });
  const isBetter = (a: Champion, b: Champion) =>
    Number(b.verified) - Number(a.verified) || a.valBpb - b.valBpb || (a.experimentId < b.experimentId ? -1 : 1);
  return champions.toSorted(isBetter)[0] ?? null;
}

function describeChampion(title: Title, selecting: ScoredRun, runs: readonly ScoredRun[], task: Task): Champion {
  const evidence = estimateFrom(gatherEvidence(selecting, runs, task));
  const own = onMainTier(evidence);
  return {
    experimentId: title.experimentId,
    valBpb: mean(own.map(({ valBpb }) => valBpb)),
    runs: own.length,
    sourceLines: selecting.lines,
    verified: title.verified,
    trainHash: selecting.trainHash,
    variantHash: selecting.variantHash,
    family: selecting.family,
    evidence,
  };
}

/** No single run passes a title on more often. */
const MAX_CHANGES = 4;

/**
 * Brings the title of a scope up to date with its runs, in the transaction that changed them.
 * @param alone runs for whose confirmation nobody else was found
 */
export async function settleTitle(
  trx: Trx,
  place: { readonly loopId: string | null; readonly rootHash: string },
  task: Task,
  alone: Pick<TitleFacts, 'unconfirmable' | 'refused'>,
  nowMs: number,
): Promise<void> {
  const scope = scopeOf(place);
  const runs = await loadScoredRuns(trx, { rootHash: place.rootHash, scope });
  for (let changes = 0; changes < MAX_CHANGES; changes += 1) {
    const titles = await loadTitles(trx, { scope });
    const change = decideTitle({ task, loopId: place.loopId, runs, titles, ...alone });
    if (!change) return;
    if (!(await passTitle(trx, { scope, rootHash: place.rootHash }, titles.at(-1)?.seq ?? 0, change, nowMs))) return;
  }
}

/** Noise of one run between variants of a lineage, in bits per byte: what gains are judged by. */
export async function loadSigma(db: Db, rootHash: string): Promise<number> {
  const [runs, task] = await Promise.all([loadScoredRuns(db, { rootHash }), loadTask(db, rootHash)]);
  return findSigma(runs, task);
}

/** The same from runs that are at hand, oldest first: on the tier of the newest. */
export function findSigma(runs: readonly ScoredRun[], task: Task): number {
  return estimateNoise(runs, task.noisePrior, runs.at(-1)?.tier).variant;
}

/** Lines that hold code: what "simpler" is measured by. */
export function countLines(source: string): number {
  return source.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('#')).length;
}
