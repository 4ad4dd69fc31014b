import { JsonObject } from '../base/json.ts';
import { nameChain } from '../discovery/agent-identity.ts';
import type { FeedbackAbout, FeedbackState } from '../payment/feedback-journal.ts';
import {
  buildFeedbackTransaction,
  FEEDBACK_URI_PREFIX,
  type FeedbackPlan,
  maxFeeWei,
} from '../payment/feedback-transaction.ts';
import { findNativeCoin, formatCoin } from '../payment/native-coin.ts';

/** A feedback as the command shows it: the whole transaction, and the file that it carries. */
export interface FeedbackView {
  readonly experiment_id: string;
  /** `dry_run`, or what became of the transaction. */
  readonly state: 'dry_run' | FeedbackState;
  readonly worker_id: string;
  readonly client: string;
  readonly rating: number;
  readonly because: string;
  /** Whether the file proves the payment. */
  readonly proof_of_payment: boolean;
  readonly proof_problem?: string;
  readonly chain: string;
  readonly chain_id: number;
  readonly to: string;
  readonly value: '0';
  readonly nonce: number;
  readonly gas_limit: string;
  readonly max_fee_per_gas_wei: string;
  readonly max_fee_wei: string;
  /** In coins. */
  readonly max_fee: string;
  readonly coin: string;
  readonly data: string;
  readonly file: JsonObject;
  readonly feedback_hash: string;
  readonly tx?: string;
  readonly feedback_index?: string;
  readonly next_step: string;
}

interface Shown {
  readonly state: FeedbackView['state'];
  readonly workerId: string;
  readonly about: FeedbackAbout;
  readonly signed?: { readonly tx: string } | null;
  readonly feedbackIndex?: bigint | null;
}

/** Shows a plan and how far it got. */
export function viewFeedback(
  plan: FeedbackPlan,
  { state, workerId, about, signed, feedbackIndex }: Shown,
): FeedbackView {
  const { to, data } = buildFeedbackTransaction(plan);
  const { feedbackUri, feedbackHash, value } = plan.call;
  const file = Buffer.from(feedbackUri.slice(FEEDBACK_URI_PREFIX.length), 'base64').toString('utf8');
  return {
    experiment_id: plan.experimentId,
    state,
    worker_id: workerId,
    client: plan.client,
    rating: Number(value),
    because: about.because,
    proof_of_payment: about.proofProblem === null,
    ...(about.proofProblem === null ? {} : { proof_problem: about.proofProblem }),
    chain: nameChain(plan.chainId),
    chain_id: plan.chainId,
    to,
    value: '0',
    nonce: plan.nonce,
    gas_limit: plan.gasLimit.toString(),
    max_fee_per_gas_wei: plan.maxFeePerGas.toString(),
    max_fee_wei: maxFeeWei(plan).toString(),
    max_fee: formatCoin(maxFeeWei(plan)),
    coin: findNativeCoin(plan.chainId).symbol,
    data,
    file: JsonObject.parse(JSON.parse(file)),
    feedback_hash: feedbackHash,
    ...(signed ? { tx: signed.tx } : {}),
    ...(feedbackIndex == null ? {} : { feedback_index: feedbackIndex.toString() }),
    next_step: suggestNext(state, plan.experimentId),
  };
}

function suggestNext(state: FeedbackView['state'], experimentId: string): string {
  const command = `autoresearch-coordinator feedback ${experimentId} --send`;
  switch (state) {
    case 'dry_run':
      return `Nothing was signed or sent. To publish this for good, with everything in the file: ${command}`;
    case 'intent':
    case 'signed':
    case 'sent':
      return `It is not on the chain yet; this sends the same transaction again and looks for it: ${command}`;
    case 'confirmed':
      return 'It is on the chain; an experiment is rated once.';
    case 'reverted':
      return `The registry refused it on the chain; only the gas is spent. To try anew: ${command}`;
    case 'replaced':
      return `Another transaction of the wallet took its place, so it was never executed. To try anew: ${command}`;
    default:
      return state satisfies never;
  }
}
