import { type Hex, isAddressEqual } from 'viem';
import { buildExperimentUrl } from '../base/endpoint.ts';
import { NotFoundError } from '../base/errors.ts';
import { isoTime } from '../base/time.ts';
import type { AgentIdentity } from '../discovery/agent-identity.ts';
import { type Experiment, loadExperiment } from '../experiment/experiment.ts';
import { isFinal } from '../experiment/states.ts';
import { type Attempt, loadAttempt } from '../payment/attempt.ts';
import type { FeedbackAbout } from '../payment/feedback-journal.ts';
import { FEEDBACK_TAGS, type FeedbackCall } from '../payment/feedback-transaction.ts';
import type { JournaledIntent } from '../payment/intent.ts';
import { buildFeedbackFile } from '../provenance/feedback-file.ts';
import { findAgent } from './feedback-agent.ts';
import { FeedbackError } from './feedback-errors.ts';
import { rateOutcome } from './feedback-rating.ts';
import type { Services } from './services.ts';

/** What is to be said about the worker of an experiment. */
export interface DraftedFeedback {
  readonly agent: AgentIdentity;
  readonly workerId: string;
  /** Who paid, and therefore rates. */
  readonly client: Hex;
  readonly call: FeedbackCall;
  readonly about: FeedbackAbout;
}

interface PaidRun {
  readonly experiment: Experiment;
  readonly attempt: Attempt;
  readonly intent: JournaledIntent;
}

/**
 * Decides what to say about the worker of a paid experiment, and writes the file that goes with it.
 * @throws NotFoundError, FeedbackError when there is nothing to be said, or nobody to say it about
 */
export async function draftFeedback(services: Services, experimentId: string): Promise<DraftedFeedback> {
  const run = await loadPaidRun(services, experimentId);
  const { experiment, attempt, intent } = run;
  const { agent, workerId, registry } = await findAgent(services, attempt, intent);
  await assertOwnKey(services, intent.payer);
  const rating = await rateOutcome(services.db, experiment);
  if (rating.kind === 'undecided') {
    throw new FeedbackError(
      'outcome_undecided',
      `${experimentId} is no ground for a rating: ${rating.because}.`,
      'Give feedback about an experiment whose result counts, or whose worker took the money for nothing.',
    );
  }
  const proof = await provePayment(services, run);
  const endpoint = buildExperimentUrl(attempt.workerEndpoint);
  const file = buildFeedbackFile({
    chainId: agent.chainId,
    registry,
    agentId: agent.agentId,
    client: intent.payer,
    createdAt: isoTime(services.clock.nowMs()),
    value: rating.value,
    tags: FEEDBACK_TAGS,
    endpoint,
    proof: proof.isProven
      ? { from: intent.payer, to: intent.payTo, chainId: intent.chain.chainId, tx: proof.tx }
      : null,
    experiment: {
      experimentId,
      trainHash: experiment.trainHash,
      valBpb: experiment.valBpb,
      amountAtomic: intent.valueAtomic,
      asset: intent.chain.asset.address,
    },
  });
  return {
    agent,
    workerId,
    client: intent.payer,
    call: {
      agentId: BigInt(agent.agentId),
      value: BigInt(rating.value),
      endpoint,
      feedbackUri: file.uri,
      feedbackHash: file.hash,
    },
    about: { because: rating.because, proofProblem: proof.isProven ? null : proof.because },
  };
}

async function loadPaidRun({ db }: Services, experimentId: string): Promise<PaidRun> {
  const experiment = await loadExperiment(db, experimentId);
  if (!experiment) throw new NotFoundError('experiment', experimentId, 'List them with the command experiments.');
  if (!isFinal(experiment.state)) {
    throw new FeedbackError(
      'not_finished',
      `${experimentId} is not over yet: it is ${experiment.state}.`,
      `Wait for its end: autoresearch-coordinator experiments ${experimentId}`,
    );
  }
  const attempt = await loadAttempt(db, experimentId, experiment.attempt);
  const intent = attempt?.payment?.intent;
  if (!attempt || !intent || experiment.settlement !== 'settled') {
    throw new FeedbackError(
      'not_settled',
      `${experimentId} was not paid for, as far as the chain tells: its settlement is ${experiment.settlement}.`,
      'Give feedback about an experiment whose settlement is settled.',
    );
  }
  return { experiment, attempt, intent };
}

/** The registry takes the word of whoever pays the gas: from another key than the payer's, the payment proves nothing. */
async function assertOwnKey({ desk }: Services, payer: Hex): Promise<void> {
  if (desk.walletKind === null) return;
  const key = await desk.fetchPayer();
  if (key === null || isAddressEqual(key, payer)) return;
  throw new FeedbackError(
    'wrong_payer',
    `The experiment was paid by ${payer}, the configured key is ${key}.`,
    'Configure the key that paid.',
  );
}

type PaymentProof =
  | { readonly isProven: true; readonly tx: Hex }
  | { readonly isProven: false; readonly because: string };

/**
 * Makes sure that the chain has this very payment, by its nonce, before it is written down as proof (erc8004.md section
 * 8): another payment to the same worker proves another experiment.
 */
async function provePayment({ desk }: Services, { attempt, intent }: PaidRun): Promise<PaymentProof> {
  const { name } = intent.chain;
  const state = await desk.fetchState({ ...attempt, claimedTx: attempt.paymentTx ?? attempt.claimedTx });
  switch (state.kind) {
    case 'settled':
      return { isProven: true, tx: state.tx };
    case 'used':
      return { isProven: false, because: `the node of ${name} cannot name the transaction of the payment` };
    case 'unverifiable':
      return { isProven: false, because: `the transaction cannot be checked, since no node of ${name} answers` };
    case 'live':
    case 'expired':
    case 'cancelled':
      return { isProven: false, because: `the node of ${name} knows no transaction that made the payment` };
    default:
      return state satisfies never;
  }
}
