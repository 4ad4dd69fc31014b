import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Db } from '../store/database.ts';
import { renderChart } from './chart.ts';
import { loadTrend } from './standings.ts';

/** More points than a picture can show apart. */
const MAX_POINTS = 1_000;

/** Where a chart is exported to; `null` is the chart of everything. */
export function chartPath(folder: string, loopId: string | null): string {
  return join(folder, 'charts', `${loopId ?? 'all'}.svg`);
}

/**
 * Draws the runs of a loop, or of everything, as SVG.
 * @param luckLine score that luck alone would give; null: unknown
 */
export async function drawChart(db: Db, loopId: string | null, luckLine: number | null): Promise<string> {
  const points = await loadTrend(db, loopId === null ? {} : { loopId }, MAX_POINTS);
  return renderChart(points, {
    title: loopId === null ? 'All experiments' : `Experiments of ${loopId}`,
    luckLine,
  });
}

/** Writes a chart to its file; a reader never sees half of it. */
export async function exportChart(
  db: Db,
  folder: string,
  loopId: string | null,
  luckLine: number | null,
): Promise<void> {
  const path = chartPath(folder, loopId);
  await mkdir(join(folder, 'charts'), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, await drawChart(db, loopId, luckLine), { mode: 0o600 });
  await rename(temporary, path);
}
