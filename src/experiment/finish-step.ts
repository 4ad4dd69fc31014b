import type { Attempt } from '../payment/attempt.ts';
import { parseRunResult, type RunResult } from '../worker/result.ts';
import type { Drive } from './drive.ts';
import type { Experiment, Reason } from './experiment.ts';
import { releaseSlots } from './leases.ts';
import { publish, resolveFate } from './publish.ts';
import { expectRun, loadResultReply } from './replies.ts';

/** `returned → judged`: reads the filed answer and judges it; what the money did is settled after that. */
export async function judgeStep(drive: Drive, experiment: Experiment): Promise<void> {
  const { db } = drive.ports;
  await releaseSlots(db, experiment.experimentId);
  const attempt = await drive.loadAttempt(experiment);
  const reply = await loadResultReply(db, experiment.experimentId, attempt.attempt);
  if (!reply) throw new TypeError(`${experiment.experimentId} has no filed answer`);
  const result = readResult(experiment, attempt, reply);
  const { judgement, enact } = await drive.ports.judge(experiment, result.run, result.wallSeconds);
  const { status, returnCode, durationSeconds, metrics, untrustedNote, flags } = result.run;
  const change = {
    result: {
      stored: { status, returnCode, durationSeconds, metrics, untrustedNote, flags: [...flags] },
      valBpb: result.run.valBpb,
    },
    judgement,
    reason: result.reason,
  };
  await drive.advance('judged', change, enact);
}

function readResult(
  experiment: Experiment,
  attempt: Attempt,
  reply: { body: Uint8Array; receivedAtMs: number },
): { run: RunResult; reason: Reason | null; wallSeconds: number | null } {
  const wallSeconds = attempt.firstSentAtMs === null ? null : (reply.receivedAtMs - attempt.firstSentAtMs) / 1000;
  const run = parseRunResult(reply.body, {
    ...expectRun(experiment, attempt),
    ...(wallSeconds === null ? {} : { wallSeconds }),
  });
  if (typeof run !== 'string') return { run, reason: explainRun(run), wallSeconds };
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
    wallSeconds,
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

/** `judged → published` (or `failed`): waits until the fate of the money is known, then publishes the record. */
export async function publishStep(drive: Drive, experiment: Experiment): Promise<void> {
  const attempt = await drive.loadAttempt(experiment);
  const fate = await resolveFate(drive, experiment, attempt);
  if (!fate) return drive.pause(drive.ports.patience.pollMs);
  const state = experiment.judgement?.verdict === 'FAILED' ? 'failed' : 'published';
  await publish(drive, experiment, attempt, { state }, fate);
}
