// The long version of the crash matrix: npm run test:chaos -- --kills 2000 [--seed 1] [--lanes 6] [--kinds sync,start]
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { type ChaosReport, runChaos } from './chaos.ts';
import { KINDS } from './scenarios.ts';

const KILLS_PER_LINE = 50;
const Whole = z.coerce.number().int().positive();

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '6' },
    kinds: { type: 'string', default: KINDS.join() },
  },
});
const kinds = z.array(z.enum(KINDS)).min(1).parse(values.kinds.split(','));
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stopping.abort());
const print = (line: string) => process.stdout.write(`${line}\n`);

const root = fileURLToPath(new URL('../..', import.meta.url));
const cache = join(root, 'node_modules', '.cache');
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, 'autoresearch-chaos-'));
try {
  execFileSync(process.execPath, ['.ci/build.mjs', `--outdir=${folder}`], { cwd: root, stdio: 'inherit' });
  let printed = 0;
  let told = 0;
  const report = await runChaos({
    cli: join(folder, 'cli.js'),
    kills: Whole.parse(values.kills),
    seed: Whole.parse(values.seed),
    lanes: Whole.parse(values.lanes),
    kinds,
    sweeps: kinds,
    signal: stopping.signal,
    firstWrites: Array.from({ length: 30 }, (_, index) => index + 1),
    onProgress: (now) => {
      for (const violation of now.violations.slice(told)) print(`VIOLATION ${violation}`);
      told = now.violations.length;
      if (now.killCount < printed + KILLS_PER_LINE) return;
      printed = now.killCount;
      print(summarise(now));
    },
  });
  for (const line of tabulate(report)) print(line);
  print(summarise(report));
  for (const violation of report.violations.slice(told)) print(`VIOLATION ${violation}`);
  process.exitCode = report.violations.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function summarise(report: ChaosReport): string {
  return [
    `${report.killCount} kills`,
    `${report.experimentCount} experiments`,
    `${report.settlementCount} settlements`,
    `${report.doubleCount} double settlements`,
    `${report.lostCount} lost`,
    `${report.overBudgetCount} budget overruns`,
    `${report.violations.length} violations`,
    `${report.folderCount} folders`,
    `${report.elapsedSeconds.toFixed(0)} s`,
  ].join(', ');
}

/** Deaths by place, one column for each kind. */
function tabulate({ kills }: ChaosReport): string[] {
  const places = [...new Set([...kills.values()].flatMap((of) => [...of.keys()]))].sort();
  const width = Math.max(...places.map((place) => place.length));
  const line = (name: string, cells: readonly (string | number)[]) =>
    `${name.padEnd(width)} ${cells.map((cell) => String(cell).padStart(8)).join('')}`;
  return [
    line('place of death', KINDS),
    ...places.map((place) =>
      line(
        place,
        KINDS.map((kind) => kills.get(kind)?.get(place) ?? 0),
      ),
    ),
    line(
      'all',
      KINDS.map((kind) => [...(kills.get(kind)?.values() ?? [])].reduce((sum, count) => sum + count, 0)),
    ),
  ];
}
