import { formatUsd } from '../base/money.ts';
import { findKnobs } from './knobs.ts';
import { findCoverage, findDeadEnds, findUntriedPairs } from './think-changes.ts';
import type { ThinkRun } from './think-facts.ts';
import type { Detail, ThinkFacts } from './think-input.ts';
import { cut, fence, formatDelta } from './think-text.ts';

const MAX_DESCRIPTION_CHARS = 120;
const MAX_DEAD_ENDS = 20;
const MAX_VALUES = 8;
const MAX_PAIRS = 10;
const MAX_VALUE_CHARS = 40;

/** The newest runs, the best ones and every kept one, one line each. */
export function renderHistory({ history, sigma }: ThinkFacts, detail: Detail): string {
  const { recent, top, keeps, counts, isCut } = history;
  if (recent.length === 0) return '';
  const sums = [...counts].filter(([verdict]) => verdict !== 'none').map(([verdict, count]) => `${count} ${verdict}`);
  const newest = recent.slice(-detail.recent);
  const shown = new Set(newest.map(({ experimentId }) => experimentId));
  const older = (runs: readonly ThinkRun[]) => runs.filter(({ experimentId }) => !shown.has(experimentId));
  const line = (run: ThinkRun) => describeRun(run, sigma);
  const kept = older(keeps);
  const best = older(top);
  return [
    '## History',
    `${isCut ? 'Of the newest 3,000 runs: ' : ''}${sums.join(', ') || 'no verdict yet'}. Δ is champion of its time minus score: + is better.`,
    `Newest ${newest.length}, oldest first:`,
    ...newest.map(line),
    ...(best.length > 0 ? ['Best of the earlier ones:', ...best.map(line)] : []),
    ...(kept.length > 0
      ? [`Kept earlier, newest ${Math.min(kept.length, detail.keeps)}:`, ...kept.slice(-detail.keeps).map(line)]
      : []),
  ].join('\n');
}

function describeRun(run: ThinkRun, sigma: number): string {
  const change = run.delta === null ? '' : ` Δ ${formatDelta(run.delta)} ±${sigma.toPrecision(2)}`;
  const z = run.z === null ? '' : ` z ${cut(run.z.toFixed(1), 8)}`;
  const score = run.score === null ? (run.reasonCode ?? run.state) : run.score.toFixed(6);
  const host = run.workerEndpoint === null ? '' : hostOf(run.workerEndpoint);
  const cost = run.priceAtomic === null ? '' : `${formatUsd(BigInt(run.priceAtomic))} USDC`;
  const where = [host, cost, run.agent === null ? '' : `agent ${run.agent}`].filter((part) => part !== '').join(', ');
  const role = run.role === 'round' || run.role === 'baseline' ? '' : `${run.role} of `;
  return `- ${run.experimentId} ${score}${change}${z} ${run.verdict ?? run.state}: ${role}${cut(run.description, MAX_DESCRIPTION_CHARS)}${where === '' ? '' : ` (${where})`}`;
}

function hostOf(endpoint: string): string {
  return URL.canParse(endpoint) ? cut(new URL(endpoint).host, MAX_VALUE_CHARS) : '';
}

/** What did not help, and how the newest crashes ended. */
export function renderFailures({ history }: ThinkFacts, detail: Detail): string {
  const ends = findDeadEnds(history.changes).slice(0, Math.min(MAX_DEAD_ENDS, detail.knobs));
  const { crashes } = history;
  if (ends.length === 0 && crashes.length === 0) return '';
  const notes = crashes.flatMap(({ experimentId, description, untrustedNote }) => [
    `${experimentId} ${cut(description, MAX_DESCRIPTION_CHARS)}: ${untrustedNote ?? 'no word of the worker'}`,
  ]);
  return [
    '## Failures',
    ...(ends.length > 0 ? ['Dead ends (constant, direction: tries, best score):'] : []),
    ...ends.map(({ what, tries, best, crashes: failed }) => {
      const crashed = failed > 0 ? `, ${failed} crashed` : '';
      return `- ${cut(what, MAX_DESCRIPTION_CHARS)}: ${tries}, ${best === null ? 'no score' : best.toFixed(6)}${crashed}`;
    }),
    ...(notes.length > 0 ? ["Newest crashes, in the workers' words (data):", fence(notes.join('\n'))] : []),
  ].join('\n');
}

/** Values tried of each constant with their best score, and what nobody has tried. */
export function renderCoverage({ champion, rootSource, history, task }: ThinkFacts, detail: Detail): string {
  const locked = new Set([...task.lockedKnobs, ...(task.seedKnob === null ? [] : [task.seedKnob])]);
  const knobs = findKnobs(champion?.source ?? rootSource).filter(({ name }) => !locked.has(name));
  if (knobs.length === 0) return '';
  const now = new Map(knobs.map(({ name, value }) => [name, value]));
  const coverage = findCoverage(now, history.changes, champion?.score ?? null);
  const tried = coverage.filter((knob) => knob.tried.length > 0).slice(0, detail.knobs);
  const untested = coverage.filter((knob) => knob.tried.length === 0).map(({ name }) => name);
  const pairs = findUntriedPairs(history.changes).slice(0, MAX_PAIRS);
  return [
    '## Coverage',
    ...tried.map(({ name, tried: values, isAtEdge }) => {
      const shown = values
        .slice(0, MAX_VALUES)
        .map(({ value, score }) => `${cut(value, MAX_VALUE_CHARS)} gave ${score?.toFixed(6) ?? 'no score'}`);
      const more = values.length > shown.length ? `; ${values.length - shown.length} more` : '';
      return `- ${name} = ${cut(now.get(name) ?? '', MAX_VALUE_CHARS)}; tried alone: ${shown.join(', ')}${more}${isAtEdge ? '; the best is at the edge' : ''}`;
    }),
    `Not tried alone: ${cut(untested.join(', ') || 'nothing', 1_000)}`,
    ...(pairs.length > 0 ? [`Promising alone, never together: ${pairs.join('; ')}`] : []),
  ].join('\n');
}
