import type { Part, Run } from './chart-frame.ts';

/**
 * Says in one line what a chart shows: "12 experiments, 3 kept, 4 extra runs, 1.7191 → 1.6323".
 * @param champions runs that were the best so far, in order
 * @param luckLine score that luck alone would give; null: unknown
 */
export function summarise(runs: readonly Run[], champions: readonly Run[], luckLine: number | null): string {
  const count = (wanted: Part) => runs.filter(({ part }) => part === wanted).length;
  const extra = count('extra');
  const total = runs.length - extra;
  const extras = extra === 0 ? '' : `, ${extra} extra run${extra === 1 ? '' : 's'}`;
  const luck = luckLine === null ? '' : `, by luck alone ${luckLine.toFixed(4)}`;
  const counts = `${total} experiment${total === 1 ? '' : 's'}, ${count('kept')} kept${extras}${luck}`;
  const first = champions[0]?.valBpb;
  const best = champions.at(-1)?.valBpb;
  if (first === undefined || best === undefined) return counts;
  const digits = first !== best && first.toFixed(4) === best.toFixed(4) ? 6 : 4;
  return `${counts}, ${first.toFixed(digits)}${first === best ? '' : ` → ${best.toFixed(digits)}`}`;
}
