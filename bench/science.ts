/**
 * Judging on a simulated field with known truth: how many champions are false, how much true gain is found for the same
 * money as by "lower is better", and what becomes of lies. The loop engine, the judge, the audits, the standings and the
 * choice of workers are the real ones over a real store; clock, training and workers are simulated from seeds:
 * `npm run bench:science -- [campaigns] [runs]`.
 */
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Comparison, compareRules, SCENARIOS } from './science/scenarios.ts';
import { formatSummary, Summary, summarize } from './science/table.ts';

const CAMPAIGNS = Number(process.argv[2] ?? 20);
const SPEND = Number(process.argv[3] ?? 80);
/** Set in the processes that play one scenario each. */
const ONLY = process.argv[4];

const MAX_FALSE_SHARE = 0.05;
const MIN_GAIN_RATIO = 1.5;

/** Plays the campaigns of one scenario in this process. */
async function play(index: number): Promise<Summary> {
  const scenario = SCENARIOS[index];
  if (!scenario) throw new RangeError(`there is no scenario ${index}`);
  const comparisons: Comparison[] = [];
  for (let seed = 1; seed <= CAMPAIGNS; seed += 1) comparisons.push(await compareRules(scenario, String(seed), SPEND));
  return summarize(scenario, comparisons);
}

/** Plays it in a process of its own. */
async function playApart(index: number): Promise<Summary> {
  const args = ['--import', 'tsx', fileURLToPath(import.meta.url), String(CAMPAIGNS), String(SPEND), String(index)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return Summary.parse(JSON.parse(stdout));
}

async function playAll(): Promise<Summary[]> {
  const summaries: Summary[] = [];
  const waiting = [...SCENARIOS.keys()];
  const lane = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      const summary = await playApart(index);
      summaries.push(summary);
      process.stdout.write(`${formatSummary(summary)}\n`);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, availableParallelism()) }, lane));
  return summaries;
}

interface Goal {
  readonly text: string;
  readonly isReached: boolean;
}

function listGoals(summaries: readonly Summary[]): Goal[] {
  const honest = summaries.filter(({ liars }) => liars.all === 0);
  const champions = honest.reduce((sum, { ours }) => sum + ours.champions, 0);
  const falseOnes = honest.reduce((sum, { ours }) => sum + ours.isFalse, 0);
  return [
    {
      text: `false champions at most ${100 * MAX_FALSE_SHARE} %: ${falseOnes} of ${champions}`,
      isReached: falseOnes <= MAX_FALSE_SHARE * champions && champions > 0,
    },
    ...summaries
      .filter(({ isGoal }) => isGoal)
      .map(({ name, ours, plain, liars }) =>
        liars.all === 0
          ? {
              text: `true gain at least ${MIN_GAIN_RATIO} x that of "lower is better" (${name}): ${ours.gain.toFixed(2)} to ${plain.gain.toFixed(2)}`,
              isReached: ours.gain > 0 && ours.gain >= MIN_GAIN_RATIO * plain.gain,
            }
          : {
              text: `no lie becomes champion (${name}): ${ours.lies} of ${ours.champions}`,
              isReached: ours.lies === 0,
            },
      ),
  ];
}

if (ONLY === undefined) {
  const startedMs = performance.now();
  const goals = listGoals(await playAll());
  for (const { text, isReached } of goals) process.stdout.write(`${isReached ? 'ok' : 'missed'}: ${text}\n`);
  process.stdout.write(`${((performance.now() - startedMs) / 1_000).toFixed(0)} s\n`);
  process.exitCode = goals.every(({ isReached }) => isReached) ? 0 : 1;
} else process.stdout.write(JSON.stringify(await play(Number(ONLY))));
