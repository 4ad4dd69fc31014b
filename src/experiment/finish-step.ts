import { workerExperimentId } from '../base/ids.ts';
import { isoTime } from '../base/time.ts';
import { type Attempt, type AuthorizationOutcome, writeOutcome } from '../payment/journal.ts';
import { buildRecordLine, saveRecord, toRawResult } from '../provenance/record.ts';
import { parseRunResult, type RunResult } from '../worker/result.ts';
import type { Drive } from './drive.ts';
import type { Experiment, Reason } from './experiment.ts';
import { releaseSlots } from './leases.ts';
import { loadResultReply } from './replies.ts';
import type { Settlement } from './states.ts';

/** `returned → judged`: reads the filed answer and judges it; what the money did is settled after that. */
export async function judgeStep(drive: Drive, experiment: Experiment): Promise<void> {
  const { db } = drive.ports;
  await releaseSlots(db, experiment.experimentId);
  const attempt = await drive.loadAttempt(experiment);
  const reply = await loadResultReply(db, experiment.experimentId, attempt.attempt);
  if (!reply) throw new TypeError(`${experiment.experimentId} has no filed answer`);
  const result = readResult(experiment, attempt, reply);
  const judgement = await drive.ports.judge(experiment, result.run);
  const { status, returnCode, durationSeconds, metrics, untrustedNote, flags } = result.run;
  await drive.advance('judged', {
    result: {
      stored: { status, returnCode, durationSeconds, metrics, untrustedNote, flags: [...flags] },
      valBpb: result.run.valBpb,
    },
    judgement,
    reason: result.reason,
  });
}

function readResult(
  experiment: Experiment,
  attempt: Attempt,
  reply: { body: Uint8Array; receivedAtMs: number },
): { run: RunResult; reason: Reason | null } {
  const run = parseRunResult(reply.body, {
    workerExperimentId: workerExperimentId(experiment.experimentId, attempt.attempt),
    trainHash: experiment.trainHash,
    config: experiment.config,
    ...(attempt.firstSentAtMs === null ? {} : { wallSeconds: (reply.receivedAtMs - attempt.firstSentAtMs) / 1000 }),
  });
  if (typeof run !== 'string') return { run, reason: explainRun(run) };
  const empty: RunResult = {
    status: 'unknown',
    returnCode: null,
    valBpb: null,
    durationSeconds: null,
    metrics: null,
    untrustedNote: null,
    flags: [],
  };
  return {
    run: empty,
    reason: { code: `result_${run}`, text: RESULT_WORDS[run], nextStep: 'Submit again to another worker.' },
  };
}

const RESULT_WORDS = {
  not_json: 'The worker answered with something that is no JSON; it is kept as received.',
  not_an_object: 'The worker answered with something that is no result; it is kept as received.',
  foreign_experiment: "The worker answered with another experiment's result; it does not count.",
  foreign_hash: 'The worker answered with the result of another program; it does not count.',
} as const;

function explainRun(run: RunResult): Reason | null {
  switch (run.status) {
    case 'completed':
      return run.valBpb === null
        ? {
            code: 'no_score',
            text: 'The run completed without a usable val_bpb.',
            nextStep: 'Let the script print one line "val_bpb: <number>" at its end.',
          }
        : null;
    case 'failed':
      return {
        code: 'run_failed',
        text: `The training script failed${run.returnCode === null ? '' : ` with exit code ${run.returnCode}`}.`,
        nextStep: 'Fix the script; the price of the run is spent.',
      };
    case 'timeout':
      return {
        code: 'run_timeout',
        text: 'The training script was stopped at the time limit of the worker.',
        nextStep: 'Make it shorter, or choose a worker with a longer limit.',
      };
    case 'unknown':
      return { code: 'run_unknown', text: 'The worker answered with an unknown status.' };
  }
}

/** Seconds after the end of the window at which waiting for a chain that cannot be read ends. */
const UNVERIFIED_WAIT_SECONDS = 60;

/** `judged → published` (or `failed`): waits until the fate of the money is known, then publishes the record. */
export async function publishStep(drive: Drive, experiment: Experiment): Promise<void> {
  const attempt = await drive.loadAttempt(experiment);
  const fate = await resolveFate(drive, attempt);
  if (!fate) return drive.pause(drive.ports.patience.pollMs);
  const { outcome, settlement } = fate;
  const reply = await loadResultReply(drive.ports.db, experiment.experimentId, attempt.attempt);
  const line = buildRecordLine({
    ...experiment,
    verdict: experiment.judgement?.verdict ?? null,
    state: finalState(experiment),
    settlement,
    workerEndpoint: attempt.workerEndpoint,
    workerId: attempt.workerId,
    workerAgentId: attempt.workerId?.split(':')[2] ?? null,
    chainName: attempt.payment?.intent.chain.name ?? 'none',
    payer: attempt.payment?.intent.payer ?? null,
    payTo: attempt.payment?.intent.payTo ?? null,
    priceAtomic: attempt.valueAtomic,
    nonce: attempt.payment?.intent.nonce ?? null,
    paymentTx: outcome?.kind === 'settled' ? outcome.tx : attempt.paymentTx,
    durationSeconds: experiment.result?.durationSeconds ?? null,
    startedAt: isoTime(experiment.createdAtMs),
    timestamp: isoTime(drive.nowMs),
    rawResult: reply ? toRawResult(reply.body) : null,
  });
  await drive.advance(finalState(experiment), { settlement }, async (trx) => {
    if (outcome) await writeOutcome(trx, attempt.experimentId, attempt.attempt, outcome, drive.nowMs);
    await saveRecord(trx, experiment.experimentId, line, drive.nowMs);
  });
}

function finalState(experiment: Experiment): 'published' | 'failed' {
  return experiment.judgement?.verdict === 'FAILED' ? 'failed' : 'published';
}

type Fate = { readonly outcome: AuthorizationOutcome | null; readonly settlement: Settlement };

/** What became of the attempt's money, or null while that is open. */
async function resolveFate(drive: Drive, attempt: Attempt): Promise<Fate | null> {
  const { payment } = attempt;
  if (!payment) return { outcome: null, settlement: 'none' };
  if (attempt.state === 'settled') return { outcome: null, settlement: 'settled' };
  if (attempt.state === 'unpaid') return { outcome: null, settlement: 'unpaid' };
  const chain = await drive.ports.desk.fetchState(attempt);
  switch (chain.kind) {
    case 'settled':
      return { outcome: { kind: 'settled', tx: chain.tx }, settlement: 'settled' };
    case 'expired':
    case 'cancelled':
      return { outcome: { kind: 'unpaid', reason: chain.kind }, settlement: 'unpaid' };
    case 'live':
    case 'used':
      return null;
    case 'unverifiable': {
      if (attempt.claimedTx !== null)
        return { outcome: { kind: 'claimed', tx: attempt.claimedTx }, settlement: 'unknown' };
      const isOver = drive.nowMs / 1000 > payment.intent.validBefore + UNVERIFIED_WAIT_SECONDS;
      return isOver ? { outcome: null, settlement: 'unknown' } : null;
    }
  }
}
