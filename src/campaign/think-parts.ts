import { formatUsd } from '../base/money.ts';
import type { Hypothesis } from './hypotheses.ts';
import type { Insight } from './insights.ts';
import type { ThinkRun } from './think-facts.ts';
import type { Detail, ThinkFacts, ThinkProspect } from './think-input.ts';
import { cut, formatDelta } from './think-text.ts';

const MAX_NOTE_CHARS = 240;
const MAX_TESTED = 5;
const MAX_EVIDENCE = 3;
/** A gain that proves something alone, in σ (field.md section 4, rule 3). */
const KEEP_Z = 3;

/** What a gain has to be to mean anything. */
export function renderNoise({ sigma, champion, luckLine }: ThinkFacts): string {
  const needed = KEEP_Z * sigma * Math.sqrt(1 + 1 / (champion?.runs ?? 1));
  const luck = luckLine === null ? '' : ` By luck alone the best run so far would score about ${luckLine.toFixed(6)}.`;
  return `## Noise\nσ of one run is ${sigma.toPrecision(2)}. One run must gain ${needed.toPrecision(2)} to be kept; less is run again or proves nothing.${luck}`;
}

/** What to build on rather than on the champion, and what to try again on top of it. */
export function renderProspects({ leaders, missed }: ThinkFacts): string {
  if (leaders.length + missed.length === 0) return '';
  const line = ({ experimentId, description, gain }: ThinkProspect) =>
    `- ${experimentId} ${formatDelta(gain)} ${cut(description, MAX_NOTE_CHARS)}`;
  return [
    '## Worth building on (data)',
    ...(leaders.length > 0
      ? [
          'Ahead of the champion, not confirmed yet; expected gain over it. Name the first as "base":',
          ...leaders.map(line),
        ]
      : []),
    ...(missed.length > 0
      ? [
          'Helped where they were tried, but another one was ahead; expected gain. Try them on top:',
          ...missed.map(line),
        ]
      : []),
  ].join('\n');
}

/** Ideas that wait, what is on its way, what was concluded. */
export function renderIdeas({ hypotheses, insights, queued, history }: ThinkFacts, detail: Detail): string {
  const open = hypotheses.filter(({ state }) => state === 'proposed').slice(0, detail.ideas);
  const tested = hypotheses.filter(({ state }) => state === 'tested').slice(-MAX_TESTED);
  const active = [
    ...history.pending.map(
      (run) => `- ${run.experimentId} runs: ${cut(run.description, MAX_NOTE_CHARS)}${byAgent(run)}`,
    ),
    ...queued.map((description) => `- waits: ${cut(description, MAX_NOTE_CHARS)}`),
  ].slice(0, detail.ideas);
  const learned = insights.slice(0, detail.ideas);
  if (open.length + tested.length + active.length + learned.length === 0) return '';
  return [
    '## Ideas (data)',
    ...(open.length > 0 ? ['Hypotheses that nobody has tested, first priority first (name them by id):'] : []),
    ...open.map(describeHypothesis),
    ...(tested.length > 0 ? ['Hypotheses that were tested:', ...tested.map(describeHypothesis)] : []),
    ...(active.length > 0 ? ['Claimed, do not propose again:', ...active] : []),
    ...(learned.length > 0 ? ['Insights, newest first:', ...learned.map(describeInsight)] : []),
  ].join('\n');
}

function byAgent({ agent }: ThinkRun): string {
  return agent === null ? '' : ` (${agent})`;
}

function describeHypothesis({ id, priority, text, verdict, experimentId }: Hypothesis): string {
  const result = verdict === null ? '' : ` → ${verdict} (${experimentId})`;
  return `- ${id} [${priority}] ${cut(text, MAX_NOTE_CHARS)}${result}`;
}

function describeInsight({ id, text, confidence, evidence }: Insight): string {
  const more = evidence.length > MAX_EVIDENCE ? ` and ${evidence.length - MAX_EVIDENCE} more` : '';
  const ground = `${evidence.slice(0, MAX_EVIDENCE).join(', ')}${more}`;
  return `- ${id} [${confidence}] ${cut(text, MAX_NOTE_CHARS)} (${ground})`;
}

/** What is left to spend, and what a run has cost lately. */
export function renderResources(facts: ThinkFacts): string {
  const { spentAtomic, remainingAtomic, rounds, history, deadline, targetScore } = facts;
  const paid = history.recent.flatMap(({ priceAtomic }) => (priceAtomic === null ? [] : [priceAtomic]));
  const average = paid.length > 0 ? paid.reduce((sum, price) => sum + price, 0) / paid.length : null;
  const enough = average !== null && average > 0 ? Math.floor(Number(remainingAtomic) / average) : null;
  const workers = describeWorkers(history.recent);
  return [
    '## Resources',
    `${history.roundsDone} of ${rounds} rounds done. Spent ${formatUsd(spentAtomic)} USDC, ${formatUsd(remainingAtomic)} USDC left for this loop${enough === null ? '' : `, about ${enough} runs at the latest prices (confirmations and audits included)`}.`,
    ...(workers === '' ? [] : [`Workers of the newest runs: ${workers}`]),
    `Now running: ${history.pending.length}.${deadline === null ? '' : ` Nothing starts after ${deadline}.`}${targetScore === null ? '' : ` Target: ${targetScore}.`}`,
  ].join('\n');
}

function describeWorkers(runs: readonly ThinkRun[]): string {
  const workers = new Map<string, ThinkRun[]>();
  for (const run of runs) {
    if (run.workerEndpoint !== null) workers.set(run.workerEndpoint, [...(workers.get(run.workerEndpoint) ?? []), run]);
  }
  return [...workers]
    .map(([endpoint, own]) => {
      const price = own.at(-1)?.priceAtomic;
      const cost = price == null ? '' : `, ${formatUsd(BigInt(price))} USDC`;
      return `${cut(endpoint, 80)} (${own.filter(({ score }) => score !== null).length} of ${own.length} scored${cost})`;
    })
    .join('; ');
}

/** How many experiments are wanted. */
export function renderRequest({ rounds, history, parallel, queued }: ThinkFacts): string {
  const left = rounds - history.roundsDone - queued.length;
  const wanted = Math.max(1, Math.min(parallel, left));
  const wave =
    wanted === 1
      ? 'Propose one experiment (more may be queued)'
      : `Propose ${wanted} distinct experiments (more may be queued) that can be read together: each tests one idea, and combinations only of ideas that stand alone in the same wave or above`;
  return `## Request\n${wave}. Say why each should help and what gain you expect; if the reason is wrong, what would the score show?`;
}

/** The call that answers. */
export function renderAnswerForm({ loopId }: ThinkFacts): string {
  return [
    '## Answer',
    `run_loop {"action": "continue", "loop_id": "${loopId}", "proposals": [{"edits": [{"search": "<text that occurs exactly once in the champion>", "replace": "<new text>"}], "hypothesis": "<why; expected gain; risk>"}]}`,
    'A proposal may name another base ("baseline", an experiment id), or give a whole "train_py", and a "config" object if the script reads AUTORESEARCH_EXPERIMENT_CONFIG. With a hypothesis ("h1", or text) and a priority 1-5 alone it is an idea for later. The seed stays: the server itself repeats what is too close to call.',
    'What you learned goes into "insights": [{"text": "…", "evidence": ["<experiment id>"], "confidence": 0.8}] of the same call.',
  ].join('\n');
}
