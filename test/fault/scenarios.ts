import type { Crash } from './crashes.ts';
import type { Scenario } from './lane.ts';
import type { LaneWorkers } from './network.ts';
import type { Random } from './random.ts';

/**
 * What is bought: a run that answers at once, a job, a run paid beforehand, a run paid with a remote signer's signature,
 * all workers at the same time; `start` is the first start on an empty folder.
 */
export const KINDS = ['sync', 'async', 'upfront', 'signer', 'mixed', 'start'] as const;
export type Kind = (typeof KINDS)[number];

/** Scenarios of one kind, one after the other in one data folder. */
export interface Block {
  readonly kind: Kind;
  readonly scenarios: readonly Scenario[];
  /** Deaths while the runner leaves at the end. */
  readonly leaving: readonly Crash[];
}

/** What the processes of an undisturbed run commit, in order. */
export interface Trace {
  readonly runner: readonly string[];
  readonly server: readonly string[];
}

const MAX_SCENARIOS = 7;
const SIDES = ['before', 'after'] as const;
/** Requests by what their heads hold: payment, signature, job, stored run, chain. */
const REQUESTS = ['payment-signature:', 'typed-data', '/jobs/', '/experiments/', 'network='];
const REQUEST_SIDES = ['before', 'half', 'after', 'answered'] as const;

/** Workers of a kind; those of `signer` and `start` are up to the caller. */
function workersOf(kind: Kind, random: Random): (keyof LaneWorkers)[] {
  switch (kind) {
    case 'sync':
    case 'async':
    case 'upfront':
      return [kind];
    case 'signer':
    case 'start':
      return [random.pick(['sync', 'async', 'upfront'] as const)];
    case 'mixed':
      return ['sync', 'async', 'upfront'];
  }
}

/** Every durable transition of a kind once before and once after its commit, and every side of its requests. */
export function buildSweep(kind: Kind, trace: Trace, random: Random): Block[] {
  const crashes: Crash[][] = [];
  const firstStep = trace.runner.findIndex((label) => label.startsWith('state='));
  for (const [position, label] of trace.runner.entries()) {
    if (trace.runner.indexOf(label) !== position) continue;
    for (const side of SIDES) {
      const crash = { role: 'runner', event: 'commit', label, n: 1, side } as const;
      // What a runner does when it starts is met by the successor of one that died over the work.
      const isStart = position < firstStep;
      crashes.push(isStart ? [{ ...crash, label: 'state=signed', side: 'before' }, crash] : [crash]);
    }
  }
  const requests = { async: REQUESTS.slice(0, 3), signer: REQUESTS.slice(0, 2) };
  const labels = kind === 'async' || kind === 'signer' ? requests[kind] : REQUESTS.slice(0, 1);
  for (const label of labels.filter((text) => kind !== 'async' || text !== 'typed-data')) {
    for (const side of REQUEST_SIDES) crashes.push([{ role: 'runner', event: 'request', label, n: 1, side }]);
  }
  const workers = kind === 'signer' ? (['sync'] as const) : workersOf(kind, random);
  return inBlocks(
    kind,
    crashes.map((list) => ({ workers, crashes: list })),
  );
}

/** First starts: the server dies in each of its commits and in its writes, of which making the tables is most. */
export function buildStarts(trace: Trace, random: Random, writes: readonly number[]): Block[] {
  const labels = [...new Set(trace.server)];
  const commits = labels.flatMap((label) =>
    SIDES.map((side): Crash => ({ role: 'server', event: 'commit', label, n: 1, side })),
  );
  const inWrites = writes.map((n): Crash => ({ role: 'server', event: 'write', n, side: random.pick(SIDES) }));
  return [...commits, ...inWrites].map((crash) => ({
    kind: 'start',
    scenarios: [{ workers: ['async'], crashes: [crash] }],
    leaving: [],
  }));
}

function inBlocks(kind: Kind, scenarios: readonly Scenario[]): Block[] {
  const blocks: Block[] = [];
  for (let start = 0; start < scenarios.length; start += MAX_SCENARIOS)
    blocks.push({ kind, scenarios: scenarios.slice(start, start + MAX_SCENARIOS), leaving: [] });
  return blocks;
}

/** A folder's worth of chance. */
export function buildRandomBlock(kind: Kind, trace: Trace, random: Random, scenarioCount = MAX_SCENARIOS): Block {
  const count = kind === 'start' ? 1 : scenarioCount;
  const scenarios = Array.from({ length: count }, () => ({
    workers: workersOf(kind, random),
    crashes: Array.from({ length: 1 + random.below(4) }, () => buildCrash(kind, trace, random)),
  }));
  const leaving: Crash[] = random.chance(0.3)
    ? [{ role: 'runner', event: 'commit', n: 1 + random.below(3), side: random.pick(SIDES) }]
    : [];
  return { kind, scenarios, leaving };
}

function buildCrash(kind: Kind, trace: Trace, random: Random): Crash {
  const side = random.pick(SIDES);
  const role = kind === 'start' || random.chance(0.15) ? 'server' : 'runner';
  const ways: (() => Crash)[] = [
    () => ({ role, event: 'time', afterMs: random.below(role === 'server' ? 500 : 1_500) }),
    () => ({ role, event: 'commit', label: random.pick(trace[role]), n: 1 + random.below(2), side }),
    () => ({ role, event: 'write', n: 1 + random.below(role === 'server' ? 30 : 60), side }),
    () => ({
      role: 'runner',
      event: 'request',
      label: random.pick(REQUESTS),
      n: 1 + random.below(2),
      side: random.pick(REQUEST_SIDES),
    }),
  ];
  return random.pick(ways)();
}
