import type { FeedbackView } from '../coordinator/feedback-view.ts';
import type { Output } from './output.ts';
import { withCoordinator } from './with-coordinator.ts';

/** `feedback`: exit code 0 when the dry run would be taken, or the feedback is on the chain. */
export async function runFeedback(experimentId: string, send: boolean, output: Output): Promise<number> {
  const feedback = await withCoordinator((coordinator) => coordinator.feedback(experimentId, send));
  output.emit(feedback);
  for (const line of describeFeedback(feedback)) output.say(line);
  output.note(feedback.next_step);
  return feedback.state === 'dry_run' || feedback.state === 'confirmed' ? 0 : 1;
}

function describeFeedback(feedback: FeedbackView): string[] {
  const proof = feedback.proof_problem === undefined ? 'proven on the chain' : `left out: ${feedback.proof_problem}`;
  return [
    `Feedback ${feedback.state}`,
    `Worker   ${feedback.worker_id}`,
    `Rating   ${feedback.rating} of 100: ${feedback.because}`,
    `Payment  ${proof}`,
    `Client   ${feedback.client}, transaction number ${feedback.nonce}`,
    `To       ${feedback.to} on ${feedback.chain} (chain ${feedback.chain_id}), value ${feedback.value}`,
    `Gas      at most ${feedback.gas_limit}, at most ${feedback.max_fee} ${feedback.coin} (rollups add the price of its data)`,
    `Data     ${feedback.data}`,
    `File     ${JSON.stringify(feedback.file)}`,
    `Hash     ${feedback.feedback_hash}`,
    ...(feedback.tx === undefined ? [] : [`Sent as  ${feedback.tx}`]),
    ...(feedback.feedback_index === undefined ? [] : [`Number   ${feedback.feedback_index} of this client`]),
  ];
}
