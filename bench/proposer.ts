/**
 * The built-in proposer against random search and against running the unchanged script again, on real training runs:
 * `npm run bench:proposer -- [runs] [seeds] [cache.json] [script]`. A script whose modules are missing is left out.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import { sha256 } from '../src/base/hash.ts';
import type { Observation } from '../src/campaign/proposer/evidence.ts';
import { propose } from '../src/campaign/proposer/propose.ts';
import { moveLiteral, scaleOf } from '../src/campaign/proposer/scale.ts';
import { applySettings, type Program, readPoint, type Setting } from '../src/campaign/proposer/space.ts';
import { findTask } from '../src/experiment/task.ts';
import { hashVariant } from '../src/experiment/variant.ts';

const RUNS = Number(process.argv[2] ?? 20);
const SEEDS = Number(process.argv[3] ?? 3);
const CACHE_FILE = process.argv[4];
const ONLY = process.argv[5] ?? '';
const SCRIPTS = ['train_stdlib.py', 'train_numpy.py'];
const RUN_TIMEOUT_MS = 300_000;

const scores = new Map<string, number | null>(
  CACHE_FILE !== undefined && existsSync(CACHE_FILE)
    ? Object.entries(z.record(z.string(), z.number().nullable()).parse(JSON.parse(readFileSync(CACHE_FILE, 'utf8'))))
    : [],
);

/** Runs a program, or remembers what the same one gave: the scripts are deterministic. */
async function run({ source }: Program): Promise<number | null> {
  const key = sha256(source);
  const known = scores.get(key);
  if (known !== undefined) return known;
  const folder = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
  const file = join(folder, 'train.py');
  writeFileSync(file, source);
  const output = await promisify(execFile)('python3', [file], { timeout: RUN_TIMEOUT_MS }).then(
    ({ stdout }) => stdout,
    () => '',
  );
  rmSync(folder, { recursive: true, force: true });
  const score = Number(/^val_bpb:\s+([\d.]+)$/m.exec(output)?.[1] ?? Number.NaN);
  const kept = Number.isFinite(score) ? score : null;
  scores.set(key, kept);
  if (CACHE_FILE !== undefined) writeFileSync(CACHE_FILE, JSON.stringify(Object.fromEntries(scores)));
  return kept;
}

interface Campaign {
  readonly baseline: number;
  readonly best: number;
  readonly trace: readonly string[];
}

async function runProposer(root: Program, seed: string): Promise<Campaign> {
  const task = findTask(root.source);
  const sigma = task.noisePrior.sigma;
  const observations: Observation[] = [];
  const programs = new Map<string, Program>();
  const trace: string[] = [];
  const observe = async (program: Program, parentId: string | null) => {
    const observation = {
      id: `run-${observations.length}`,
      point: readPoint(program),
      score: await run(program),
      parentId,
    };
    observations.push(observation);
    programs.set(observation.id, program);
    return observation;
  };
  let base = await observe(root, null);
  const baseline = base.score ?? Number.NaN;
  for (let round = 1; round <= RUNS; round += 1) {
    const [next] = propose({
      base: { program: programs.get(base.id) ?? root, observation: base, score: base.score ?? Number.NaN },
      observations,
      taken: new Set([...programs.values()].map(({ source, config }) => hashVariant(sha256(source), config))),
      pending: [],
      sigma,
      locked: new Set([...task.lockedKnobs, ...(task.seedKnob === null ? [] : [task.seedKnob])]),
      ranges: task.knobRanges,
      seed,
      count: 1,
    });
    if (!next) break;
    const tried = await observe(next.program, base.id);
    const isBetter = tried.score !== null && base.score !== null && base.score - tried.score > sigma;
    trace.push(
      `${round}: ${changes(programs.get(base.id) ?? root, next.program)} ${tried.score} ${isBetter ? 'KEEP' : ''} (${next.hypothesis})`,
    );
    if (isBetter) base = tried;
  }
  return { baseline, best: bestOf(observations), trace };
}

/** Random search over the same knobs and steps: up to three of them moved by one to three steps each. */
async function runRandom(root: Program, seed: number): Promise<Campaign> {
  const task = findTask(root.source);
  const locked = new Set([...task.lockedKnobs, task.seedKnob ?? '']);
  const { values } = readPoint(root);
  const keys = [...values.keys()].filter((key) => !locked.has(key.replace(/\[\d+\]$/, '')));
  const random = createRandom(seed);
  const baseline = (await run(root)) ?? Number.NaN;
  const found: Observation[] = [{ id: 'root', point: readPoint(root), score: baseline, parentId: null }];
  while (found.length <= RUNS) {
    const settings = Array.from({ length: 1 + Math.floor(random() * 3) }, (): Setting[] => {
      const key = keys[Math.floor(random() * keys.length)] ?? '';
      const value = values.get(key);
      const scale = value && scaleOf(key, value);
      const moved = value && scale && moveLiteral(value, scale, random() < 0.5 ? 1 : -1, 1 + Math.floor(random() * 3));
      const range = task.knobRanges[key];
      const isIn = !range || (moved?.kind === 'float' && moved.value >= range.min && moved.value <= range.max);
      return moved && isIn ? [{ key, value: moved }] : [];
    }).flat();
    if (settings.length === 0) continue;
    const program = applySettings(root, settings);
    found.push({ id: `run-${found.length}`, point: readPoint(program), score: await run(program), parentId: null });
  }
  return { baseline, best: bestOf(found), trace: [] };
}

function bestOf(observations: readonly Observation[]): number {
  return Math.min(...observations.map(({ score }) => score ?? Number.POSITIVE_INFINITY));
}

/** Park and Miller's generator: the same numbers for the same seed everywhere. */
function createRandom(seed: number): () => number {
  let state = seed * 7_919 + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function changes(before: Program, after: Program): string {
  const lines = before.source.split('\n');
  return after.source
    .split('\n')
    .filter((line, index) => line !== lines[index])
    .map((line) => line.split('#')[0]?.trim())
    .join(', ');
}

for (const script of SCRIPTS.filter((name) => name.includes(ONLY))) {
  const root = {
    source: readFileSync(new URL(`../src/localnet/examples/${script}`, import.meta.url), 'utf8'),
    config: {},
  };
  if ((await run(root)) === null) {
    process.stdout.write(`${script}: cannot be run here\n`);
    continue;
  }
  const show = (name: string, { baseline, best, trace }: Campaign) =>
    process.stdout.write(
      `${script} ${name}: ${baseline.toFixed(6)} → ${best.toFixed(6)} (${(best / baseline).toFixed(4)}) in ${RUNS} runs\n${trace.map((line) => `  ${line}\n`).join('')}`,
    );
  for (let seed = 1; seed <= SEEDS; seed += 1) show(`proposer, seed ${seed}`, await runProposer(root, `loop-${seed}`));
  for (let seed = 1; seed <= SEEDS; seed += 1) show(`random, seed ${seed}`, await runRandom(root, seed));
  show('unchanged script', { baseline: (await run(root)) ?? 0, best: (await run(root)) ?? 0, trace: [] });
}
