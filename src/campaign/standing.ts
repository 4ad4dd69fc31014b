import { sql } from 'kysely';
import { isoTime } from '../base/time.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import type { Db } from '../store/database.ts';
import { doesCount, groupBy, loadScoredRuns, mean, median, type ScoredRun } from './evidence.ts';
import { DOUBT_Z, estimateNoise, type NoisePrior, splitRepeats } from './noise.ts';

/** What repeats of a worker's runs elsewhere, and its failures, say of it. */
export interface Standing {
  /** Programs on which another worker said the same. */
  readonly agreements: number;
  /** Programs on which most others said something else, and halves where it is not known who is wrong. */
  readonly disagreements: number;
  /** Paid results that never came, unpaid runs and results that did not count, since the last good one. */
  readonly failuresInARow: number;
  /** Chance that its next result is true, from 0 to 1. */
  readonly trust: number;
  /** `probation`: one canary may bring it back. */
  readonly state: 'ok' | 'quarantined' | 'probation';
  /** Unix milliseconds; null unless quarantined. */
  readonly untilMs: number | null;
  readonly offences: number;
}

/** One thing that a worker did, for better or worse. */
export interface Mark {
  readonly endpoint: string;
  readonly atMs: number;
  readonly kind: 'agreement' | 'disagreement' | 'dispute' | 'failure' | 'good';
}

/** Counts before the first audit: a stranger is believed, but not blindly. */
const PRIOR = { good: 9, all: 10 } as const;
/** One proven lie outweighs this many agreements. */
const WEIGHT_OF_LIE = 3;
/** Less trust than this is no trust: one lie of a stranger, or one among fewer than four agreements. */
export const MIN_TRUST = 0.75;
const MAX_FAILURES_IN_A_ROW = 3;
/** The first time out, doubled with each offence. */
const FIRST_QUARANTINE_MS = 3_600_000;
const LONGEST_QUARANTINE_MS = 7 * 86_400_000;

/** A worker of which nothing is known. */
export const NEW_STANDING: Standing = judgeStanding([], 0);

/**
 * Judges one worker by its marks: Beta counts of agreement, quarantine below the least trust or after failures in a
 * row, and a way back: time, then one run that somebody else confirms.
 * @param marks of one worker, in any order
 */
export function judgeStanding(marks: readonly Mark[], nowMs: number): Standing {
  const sorted = marks.toSorted((a, b) => a.atMs - b.atMs);
  const count = (kind: Mark['kind']) => sorted.filter((mark) => mark.kind === kind).length;
  const agreements = count('agreement');
  const disagreements = count('disagreement') + count('dispute') / 2;
  const trust = (PRIOR.good + agreements) / (PRIOR.all + agreements + WEIGHT_OF_LIE * disagreements);
  const runs = sorted.filter(({ kind }) => kind === 'failure' || kind === 'good');
  const lastGood = runs.findLastIndex(({ kind }) => kind === 'good');
  const failuresInARow = runs.length - 1 - lastGood;
  const facts = { agreements, disagreements, failuresInARow, trust };
  const offences = findOffences(sorted, failuresInARow);
  const isUntrusted = trust < MIN_TRUST || failuresInARow >= MAX_FAILURES_IN_A_ROW;
  const last = offences.at(-1);
  if (!isUntrusted || last === undefined) return { ...facts, state: 'ok', untilMs: null, offences: offences.length };
  const timeOutMs = Math.min(FIRST_QUARANTINE_MS * 2 ** (offences.length - 1), LONGEST_QUARANTINE_MS);
  const untilMs = last + timeOutMs;
  if (nowMs < untilMs) return { ...facts, state: 'quarantined', untilMs, offences: offences.length };
  const isBack = sorted.some(({ kind, atMs }) => kind === 'agreement' && atMs > last);
  return { ...facts, state: isBack ? 'ok' : 'probation', untilMs: null, offences: offences.length };
}

/** When a worker earned time out: at each lie, and when its failures became too many. */
function findOffences(sorted: readonly Mark[], failuresInARow: number): number[] {
  const lies = sorted.filter(({ kind }) => kind === 'disagreement').map(({ atMs }) => atMs);
  const failures = sorted.filter(({ kind }) => kind === 'failure').slice(-failuresInARow || sorted.length);
  const tooMany = failuresInARow >= MAX_FAILURES_IN_A_ROW ? failures.slice(MAX_FAILURES_IN_A_ROW - 1) : [];
  return [...lies, ...tooMany.map(({ atMs }) => atMs)].toSorted((a, b) => a - b);
}

/** Reads what repeats of the same program on several workers say of each of them. */
export function markRepeats(runs: readonly ScoredRun[], prior: NoisePrior): Mark[] {
  const { repeat } = estimateNoise(runs, prior);
  const isAbout = (run: ScoredRun) => doesCount(run) || run.verdict === 'SUSPECT';
  const groups = groupBy(
    runs.filter(isAbout),
    ({ variantHash, tier, dataHash }) => `${variantHash} ${tier} ${dataHash}`,
  );
  return groups.flatMap((group) => {
    const { agreeing, odd, isOpen } = splitRepeats(group, repeat);
    const voices = groupBy(agreeing, ({ endpoint }) => endpoint);
    if (voices.length + odd.length < 2) return [];
    const mark = (run: ScoredRun, kind: Mark['kind']): Mark => ({
      endpoint: run.endpoint,
      atMs: run.updatedAtMs,
      kind,
    });
    if (isOpen)
      return groupBy(group, ({ endpoint }) => endpoint).flatMap(([run]) => (run ? [mark(run, 'dispute')] : []));
    const limit = DOUBT_Z * Math.SQRT2 * repeat;
    const center = median(voices.map((own) => mean(own.map(({ valBpb }) => valBpb))));
    const isBeside = (run: ScoredRun) => Math.abs(run.valBpb - center) > (voices.length > 2 ? limit : limit / 2);
    const confirm = (run: ScoredRun) => {
      if (!isBeside(run)) return [mark(run, 'agreement')];
      return voices.length > 2 ? [mark(run, 'dispute')] : [];
    };
    return [
      // What a worker said again is no second agreement, but the newest shows that it is still good.
      ...(voices.length > 1 ? voices.flatMap((own) => own.slice(-1).flatMap(confirm)) : []),
      ...groupBy(odd, ({ endpoint }) => endpoint).flatMap(([run]) => (run ? [mark(run, 'disagreement')] : [])),
    ];
  });
}

/** Loads the standing of every worker that has one. */
export async function loadStandings(db: Db, nowMs: number): Promise<Map<string, Standing>> {
  const marks = await recallMarks(db);
  return new Map(
    groupBy(marks, ({ endpoint }) => endpoint).map((own) => [own[0]?.endpoint ?? '', judgeStanding(own, nowMs)]),
  );
}

/** Store → its marks, which only change when a run ends; every choice of a worker asks for them. */
const known = new WeakMap<Db, { readonly signature: string; readonly marks: readonly Mark[] }>();

async function recallMarks(db: Db): Promise<readonly Mark[]> {
  const counts = await db
    .selectFrom('worker_tallies')
    .select((eb) => [
      eb.fn.sum<number | null>('runs').as('runs'),
      eb.fn.sum<number | null>('scored').as('scored'),
      eb.fn.sum<number | null>('unpaid').as('unpaid'),
      eb
        .selectFrom('tasks')
        .select((task) => task.fn.max('updated_at').as('at'))
        .as('task_at'),
    ])
    .executeTakeFirst();
  const signature = JSON.stringify(counts);
  const before = known.get(db);
  if (before?.signature === signature) return before.marks;
  const marks = [...(await loadRepeatMarks(db)), ...(await loadRunMarks(db))];
  known.set(db, { signature, marks });
  return marks;
}

async function loadRepeatMarks(db: Db): Promise<Mark[]> {
  const marks: Mark[] = [];
  for (const lineage of groupBy(await loadScoredRuns(db, 'repeats'), ({ rootHash }) => rootHash)) {
    const task = await loadTask(db, lineage[0]?.rootHash ?? '');
    marks.push(...markRepeats(lineage, task.noisePrior));
  }
  return marks;
}

/** States in which a worker has had its chance. */
const ENDED = ['judged', 'published', 'failed', 'lost', 'unpaid'];
/** More failures in a row earn no longer time out. */
const NEWEST_RUNS = 20;

/** How each worker's newest runs ended; a script that fails is no fault of its worker. */
async function loadRunMarks(db: Db): Promise<Mark[]> {
  // Each worker is found by one step in the index, however many runs it has.
  const { rows } = await sql<Run>`
    with recursive workers(endpoint) as (
      select min(worker_endpoint) from experiments where worker_endpoint is not null
      union all
      select (select min(worker_endpoint) from experiments where worker_endpoint > workers.endpoint)
        from workers where workers.endpoint is not null)
    select run.worker_endpoint as endpoint, run.state, run.verdict, run.val_bpb, run.updated_at
    from workers join experiments as run on run.rowid in (
      select newest.rowid from experiments as newest
      where newest.worker_endpoint = workers.endpoint and newest.state in (${sql.join(ENDED)})
      order by newest.updated_at desc limit ${NEWEST_RUNS})`.execute(db);
  return rows.flatMap(({ endpoint, state, verdict, val_bpb, updated_at: atMs }): Mark[] => {
    if (verdict === 'FAILED') return [];
    if (state === 'lost' || state === 'unpaid') return [{ endpoint, atMs, kind: 'failure' }];
    const isGood = val_bpb !== null && verdict !== 'INVALID' && verdict !== 'SUSPECT';
    return [{ endpoint, atMs, kind: isGood ? 'good' : 'failure' }];
  });
}

interface Run {
  readonly endpoint: string;
  readonly state: string;
  readonly verdict: string | null;
  readonly val_bpb: number | null;
  readonly updated_at: number;
}

/** One line about a standing for people; null when there is nothing to say. */
export function explainStanding({
  state,
  untilMs,
  agreements,
  disagreements,
  failuresInARow,
}: Standing): string | null {
  const parts = [
    ...(agreements + disagreements > 0
      ? [`${agreements} of ${agreements + disagreements} audited programs agreed with other workers`]
      : []),
    ...(failuresInARow > 0 ? [`${failuresInARow} failed in a row`] : []),
  ];
  const why = parts.join(', ');
  if (state === 'quarantined' && untilMs !== null) return `quarantined until ${isoTime(untilMs)}: ${why}`;
  if (state === 'probation') return `on probation, to be tried once with a known program: ${why}`;
  return disagreements > 0 ? why : null;
}
