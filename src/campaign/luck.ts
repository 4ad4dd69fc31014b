import type { Db } from '../store/database.ts';
import { loadChampion, loadSigma } from './champion.ts';
import { loadScoredRuns, mean, type ScoredRun } from './evidence.ts';
import type { Champion } from './judge.ts';
import { loadLoop } from './loop.ts';
import { expectLuck } from './noise.ts';

/**
 * The score that the best run of a loop would have by luck alone, if no change had helped: E(n)·σ below the baseline
 * (field.md section 4, rule 7). Null before the first score.
 */
export async function loadLuckLine(db: Db, loopId: string): Promise<number | null> {
  const loop = await loadLoop(db, loopId);
  if (!loop) return null;
  const { rootHash } = loop;
  const [runs, champion, sigma] = await Promise.all([
    loadScoredRuns(db, { rootHash, scope: loopId }),
    loadChampion(db, rootHash, loopId),
    loadSigma(db, rootHash),
  ]);
  return findLuckLine(runs, champion, sigma, loopId);
}

/** The same from what is at hand. @param runs of the lineage  @param sigma noise of one run */
export function findLuckLine(
  runs: readonly ScoredRun[],
  champion: Champion | null,
  sigma: number,
  loopId: string,
): number | null {
  const own = runs.filter((run) => run.loopId === loopId);
  const family = own.find(({ verdict }) => verdict === 'BASELINE')?.family;
  const tier = champion?.evidence[0]?.tier;
  const baseline = own.filter((run) => run.family === family && run.tier === tier && run.verdict !== 'SUSPECT');
  if (baseline.length === 0) return null;
  const line = mean(baseline.map(({ valBpb }) => valBpb)) - expectLuck(own.length) * sigma;
  return Math.round(line * 1e6) / 1e6;
}
