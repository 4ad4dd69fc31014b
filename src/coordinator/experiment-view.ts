import type { JsonObject } from '../base/json.ts';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import type { Experiment, Verdict } from '../experiment/experiment.ts';
import type { ExperimentState, Settlement } from '../experiment/states.ts';
import { loadWarnings } from '../experiment/variant-form.ts';
import type { Db } from '../store/database.ts';

/** One experiment as tools, commands and its resource show it (design.md section 8). What is not known yet is absent. */
export interface ExperimentView {
  readonly experiment_id: string;
  readonly state: string;
  readonly settlement: string;
  readonly summary: string;
  readonly description: string;
  readonly train_hash: string;
  readonly attempt: number;
  readonly elapsed_s: number;
  readonly created_at: string;
  readonly next_step: string;
  readonly worker_endpoint?: string;
  readonly worker_id?: string;
  readonly worker_choice?: string;
  readonly price_atomic?: string;
  readonly price_usdc?: string;
  readonly payment_tx?: string;
  readonly val_bpb?: number;
  readonly verdict?: string;
  readonly verdict_because?: string;
  readonly reason?: string;
  readonly reason_code?: string;
  readonly duration_s?: number;
  readonly metrics?: Record<string, number>;
  readonly data_sha256?: string;
  readonly untrusted_note?: string;
  readonly loop_id?: string;
  readonly round?: number;
  readonly hypothesis?: string;
  readonly agent?: string;
  /**
   * What the script was given beside its source; absent when empty. Not in the tools' answers: their list of fields is
   * part of every tool list, which has no tokens left.
   */
  readonly config?: JsonObject;
  /** What the gate had to say about the variant. */
  readonly warnings?: string[];
  /** Earlier experiments that are much like it, with what they gave. */
  readonly similar?: string[];
}

/** Shows an experiment with what its newest attempt costs and where it was settled. */
export async function viewExperiment(db: Db, experiment: Experiment, nowMs: number): Promise<ExperimentView> {
  const attempt = await db
    .selectFrom('attempts')
    .select(['value', 'payment_tx'])
    .where('experiment_id', '=', experiment.experimentId)
    .where('attempt', '=', experiment.attempt)
    .executeTakeFirst();
  const warnings = await loadWarnings(db, experiment.variantHash);
  const { result, judgement, reason } = experiment;
  const endMs = experiment.finishedAtMs ?? nowMs;
  return {
    experiment_id: experiment.experimentId,
    state: experiment.state,
    settlement: experiment.settlement,
    summary: summarise(experiment),
    description: experiment.description,
    train_hash: experiment.trainHash,
    attempt: experiment.attempt,
    elapsed_s: Math.round((endMs - experiment.createdAtMs) / 100) / 10,
    created_at: isoTime(experiment.createdAtMs),
    next_step: nextStep(experiment),
    ...(experiment.workerEndpoint === null ? {} : { worker_endpoint: experiment.workerEndpoint }),
    ...(experiment.workerId === null ? {} : { worker_id: experiment.workerId }),
    ...(experiment.workerChoice === null ? {} : { worker_choice: experiment.workerChoice }),
    ...(attempt ? { price_atomic: String(attempt.value), price_usdc: formatUsd(BigInt(attempt.value)) } : {}),
    ...(attempt?.payment_tx ? { payment_tx: attempt.payment_tx } : {}),
    ...(experiment.valBpb === null ? {} : { val_bpb: experiment.valBpb }),
    ...(judgement ? { verdict: judgement.verdict, verdict_because: judgement.because } : {}),
    ...(reason ? { reason: reason.text, reason_code: reason.code } : {}),
    ...(result?.durationSeconds == null ? {} : { duration_s: result.durationSeconds }),
    ...viewMetrics(result?.metrics ?? {}),
    ...viewNote(result?.untrustedNote ?? reason?.untrustedNote ?? null),
    ...(experiment.loopId === null ? {} : { loop_id: experiment.loopId }),
    ...(experiment.round === null ? {} : { round: experiment.round }),
    ...(experiment.hypothesis === null ? {} : { hypothesis: experiment.hypothesis }),
    ...(experiment.agent === null ? {} : { agent: experiment.agent }),
    ...(Object.keys(experiment.config).length === 0 ? {} : { config: experiment.config }),
    ...(warnings.length > 0 ? { warnings } : {}),
  };
}

/** What the worker itself says about its run, or about why there is none. */
function viewNote(untrustedNote: string | null) {
  return untrustedNote === null ? {} : { untrusted_note: untrustedNote };
}

/** A worker writes the names as well: longer ones could carry a message. */
const METRIC_NAME = /^\w{1,24}$/;
const DATA_HASH = /^(?:sha256:)?[0-9a-f]{8,64}$/;

/** Numbers of the training's summary, and the hash that tells whether two scores are about the same data. */
function viewMetrics(metrics: Readonly<Record<string, number | string>>) {
  const numbers = Object.entries(metrics).flatMap(([name, value]) =>
    typeof value === 'number' && METRIC_NAME.test(name) ? [[name, value] as const] : [],
  );
  const dataHash = String(metrics.data_sha256 ?? '');
  return {
    ...(numbers.length > 0 ? { metrics: Object.fromEntries(numbers) } : {}),
    ...(DATA_HASH.test(dataHash) ? { data_sha256: dataHash } : {}),
  };
}

const STATE_WORDS: Readonly<Record<ExperimentState, string>> = {
  drafted: 'It is written down and will be taken up at once.',
  claimed: 'It is looking for a free worker.',
  quoted: 'A worker has named its price.',
  reserved: 'Its price is reserved.',
  signed: 'Its payment is signed and not sent yet.',
  sent: 'It was sent to the worker with its payment; the worker is at it.',
  accepted: 'The worker took it as a job.',
  returned: 'The worker answered.',
  judged: 'The result is judged; the payment is being confirmed on the chain.',
  published: 'It is finished and recorded.',
  refused: 'It was refused; nothing was spent.',
  failed: 'The run failed.',
  unpaid: 'It ended without a result; the chain shows that nothing was paid.',
  lost: 'Its result could not be recovered.',
  cancelled: 'It was cancelled before anything was signed.',
};

function summarise(experiment: Experiment): string {
  const { judgement, valBpb, reason, state } = experiment;
  if (valBpb !== null && judgement)
    return `${experiment.description}: val_bpb ${valBpb}, ${judgement.verdict} (${judgement.because}).`;
  const money = state === 'failed' ? MONEY_WORDS[experiment.settlement] : undefined;
  return [STATE_WORDS[state], reason?.text, money].filter((part) => part !== undefined).join(' ');
}

/** What became of the price of a run that failed; the reason of one that is lost says it already. */
const MONEY_WORDS: Readonly<Record<Settlement, string | undefined>> = {
  none: undefined,
  pending: 'Its payment is not settled yet.',
  settled: 'The worker was paid for it.',
  unpaid: 'The chain shows that it was not paid.',
  unknown: 'Whether it was paid is not known; its price stays reserved until the chain tells.',
};

/** Verdicts after which a variant is worth building on. */
const GAINS: readonly Verdict[] = ['BASELINE', 'KEEP', 'KEEP-SIMPLER'];

function nextStep({ state, experimentId, reason, judgement }: Experiment): string {
  if (reason?.nextStep !== undefined && state !== 'published') return reason.nextStep;
  switch (state) {
    case 'published':
    case 'judged':
      return judgement && !GAINS.includes(judgement.verdict)
        ? 'Try another idea from the champion; get_leaderboard shows where it stands.'
        : `Build on it: submit_experiment with base "${experimentId}" and edits, or see get_leaderboard.`;
    case 'refused':
    case 'unpaid':
    case 'lost':
    case 'failed':
    case 'cancelled':
      return 'Submit another experiment.';
    default:
      return `Wait with get_experiment {"experiment_id": "${experimentId}", "wait_seconds": 40}.`;
  }
}
