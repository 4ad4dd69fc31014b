import { sleep } from '../base/time.ts';
import { nameChain } from '../discovery/agent-identity.ts';
import { FeedbackChain, type GasOffer } from '../payment/feedback-chain.ts';
import {
  dropFeedback,
  isSignable,
  type JournaledRow,
  loadFeedback,
  writeFeedback,
  writeFeedbackState,
  writeSignedFeedback,
} from '../payment/feedback-journal.ts';
import { type FeedbackPlan, findPlanProblem, maxFeeWei } from '../payment/feedback-transaction.ts';
import { assertNotFrozen } from '../payment/freeze.ts';
import { findNativeCoin, formatCoin } from '../payment/native-coin.ts';
import { NoWalletError } from '../payment/payment-errors.ts';
import { noRpc } from './feedback-agent.ts';
import { FeedbackError } from './feedback-errors.ts';
import { type DraftedFeedback, draftFeedback } from './feedback-plan.ts';
import { type FeedbackView, viewFeedback } from './feedback-view.ts';
import type { Services } from './services.ts';

/** How long a sent transaction is waited for, in milliseconds; afterwards the same command goes on with it. */
const WAIT_MS = 30_000;
const POLL_MS = 250;

/**
 * Rates the worker of a paid experiment in the ERC-8004 reputation registry, once. Without `send` it shows what would be
 * sent. A repeat goes on where the last call stopped: what is signed is sent again as it is, and never signed anew.
 * @throws NotFoundError, FeedbackError, FeedbackBusyError, FrozenError, NoWalletError, SignerError, GuardError, RpcError
 */
export async function giveFeedback(services: Services, experimentId: string, send: boolean): Promise<FeedbackView> {
  const known = await loadFeedback(services.db, experimentId);
  if (known && !send && known.state !== 'intent') return viewFeedback(known.plan, known);
  if (known?.signed) return finish(services, known);
  if (known && send && isSignable(known, services.clock.nowMs())) return finish(services, await sign(services, known));
  const draft = await draftFeedback(services, experimentId);
  const { plan, chain } = await planTransaction(services, experimentId, draft);
  if (!send) return viewFeedback(plan, { state: 'dry_run', workerId: draft.workerId, about: draft.about });
  if (services.desk.walletKind === null) throw new NoWalletError();
  await assertFunds(chain, plan);
  const written = await writeFeedback(services.db, plan, draft.workerId, draft.about, services.clock.nowMs());
  return finish(services, await sign(services, written));
}

/** Tries the call, prices it and takes the account's next number. */
async function planTransaction(
  services: Services,
  experimentId: string,
  draft: DraftedFeedback,
): Promise<{ plan: FeedbackPlan; chain: FeedbackChain }> {
  const { agent, client, call } = draft;
  const chain = await openFeedbackChain(services, agent.chainId);
  const offer = await chain.tryFeedback(client, call);
  if (typeof offer === 'string') throw explainRefusal(offer, draft);
  const nonce = await chain.fetchNextNonce(client);
  const plan = { experimentId, chainId: agent.chainId, client, call, nonce, ...offer };
  const problem = findPlanProblem(plan);
  if (problem) throw new FeedbackError('fees_too_high', problem.text, 'Try again when gas is cheaper.');
  return { plan, chain };
}

async function openFeedbackChain({ openRpc }: Services, chainId: number): Promise<FeedbackChain> {
  const rpc = await openRpc(chainId);
  if (rpc) return new FeedbackChain(rpc, chainId);
  throw noRpc(chainId);
}

function explainRefusal(
  refusal: Exclude<Awaited<ReturnType<FeedbackChain['tryFeedback']>>, GasOffer>,
  draft: DraftedFeedback,
) {
  const agent = `agent ${draft.agent.agentId} on ${nameChain(draft.agent.chainId)}`;
  switch (refusal) {
    case 'own_agent':
      return new FeedbackError('own_agent', `The ${agent} is our own: its owner does not rate it.`, 'Rate others.');
    case 'unknown_agent':
      return new FeedbackError('unknown_agent', `The registry does not know the ${agent}.`, 'Nobody can rate it.');
    case 'other':
      return new FeedbackError(
        'refused_by_registry',
        `The reputation registry would refuse feedback about the ${agent}.`,
        'Check that ERPC_URL is a node of that chain.',
      );
    default:
      return refusal satisfies never;
  }
}

async function assertFunds(chain: FeedbackChain, plan: FeedbackPlan): Promise<void> {
  const [coins, needed] = [await chain.fetchCoins(plan.client), maxFeeWei(plan)];
  if (coins >= needed) return;
  const { symbol } = findNativeCoin(plan.chainId);
  throw new FeedbackError(
    'no_gas_money',
    `The wallet ${plan.client} holds ${formatCoin(coins)} ${symbol} on ${nameChain(plan.chainId)}; the feedback may cost ${formatCoin(needed)} ${symbol}.`,
    `Send ${symbol} on ${nameChain(plan.chainId)} to the wallet: unlike a payment, feedback needs gas.`,
  );
}

/** Signs a plan that is on disk. Of two processes that do so at once one has its signature thrown away. */
async function sign({ db, desk, clock }: Services, written: JournaledRow): Promise<JournaledRow> {
  const signed = await desk.signFeedback(written.plan).catch(async (error: unknown) => {
    await dropFeedback(db, written.id);
    throw error;
  });
  if (await writeSignedFeedback(db, written.id, signed, clock.nowMs())) return { ...written, signed, state: 'signed' };
  const now = await loadFeedback(db, written.plan.experimentId);
  if (now?.signed) return now;
  throw new FeedbackError(
    'taken_over',
    'The signer took so long that the plan was dropped.',
    `Run it again: autoresearch-coordinator feedback ${written.plan.experimentId} --send`,
  );
}

/** Sends what is signed, as often as it takes, and waits for its receipt. */
async function finish(services: Services, row: JournaledRow): Promise<FeedbackView> {
  const { db, clock } = services;
  const { plan, signed, id } = row;
  if (row.state === 'confirmed' || signed === null) return viewFeedback(plan, row);
  const chain = await openFeedbackChain(services, plan.chainId);
  const before = await settle(services, chain, row);
  if (before) return before;
  await assertNotFrozen(db);
  // A node may know the bytes already, and a crash may come after they left: only the receipt tells.
  await chain.broadcast(signed.raw);
  await writeFeedbackState(db, id, 'sent', null, clock.nowMs());
  const untilMs = performance.now() + WAIT_MS;
  while (performance.now() < untilMs) {
    const settled = await settle(services, chain, row);
    if (settled) return settled;
    await sleep(POLL_MS);
  }
  return viewFeedback(plan, { ...row, state: 'sent' });
}

/** Writes what the chain says of a signed feedback; null while it says nothing. */
async function settle({ db, clock }: Services, chain: FeedbackChain, row: JournaledRow): Promise<FeedbackView | null> {
  const { plan, signed, id } = row;
  if (signed === null) return null;
  const outcome = await chain.fetchOutcome(signed.tx, plan.client, plan.call.agentId);
  switch (outcome.kind) {
    case 'confirmed':
      await writeFeedbackState(db, id, 'confirmed', outcome.feedbackIndex, clock.nowMs());
      return viewFeedback(plan, { ...row, state: 'confirmed', feedbackIndex: outcome.feedbackIndex });
    case 'reverted':
      await writeFeedbackState(db, id, 'reverted', null, clock.nowMs());
      return viewFeedback(plan, { ...row, state: 'reverted' });
    case 'absent':
      if (!(await chain.isNonceUsed(plan.client, plan.nonce))) return null;
      await writeFeedbackState(db, id, 'replaced', null, clock.nowMs());
      return viewFeedback(plan, { ...row, state: 'replaced' });
    default:
      return outcome satisfies never;
  }
}
