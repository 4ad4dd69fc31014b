import { ConfigurationError, CoordinatorError } from '../base/errors.ts';
import { type AssessedTerms, requirePayable } from '../payment/assess.ts';
import { OverBudgetError } from '../payment/budget.ts';
import { FrozenError } from '../payment/freeze.ts';
import { writeFreeAttempt, writeIntent } from '../payment/journal.ts';
import type { Offer } from '../payment/offer.ts';
import { NoWalletError, UnpayableError } from '../payment/payment-errors.ts';
import { loadQuote, matchQuote } from '../payment/quote.ts';
import { SignerError } from '../payment/remote-signer.ts';
import type { Drive } from './drive.ts';
import { type Experiment, type Reason, toReason } from './experiment.ts';
import { acquireSlot, releaseSlots } from './leases.ts';
import { followOlder } from './recover-step.ts';

/** A run whose worker does not say how long it allows is expected to end within this time, in seconds. */
export const DEFAULT_RUN_SECONDS = 600;

/** How long a worker that could not be used is left alone by an experiment, in milliseconds. */
const AVOID_MS = { busy: 3_000, unusable: 10 * 60_000 } as const;

/** A signer that is too slow for every window would otherwise be asked for ever. */
const MAX_ATTEMPTS = 8;

interface Target {
  readonly endpoint: string;
  readonly workerId: string | null;
  readonly choice: string;
}

type Refusal = { readonly isBusy: boolean; readonly reason: Reason };

/** `claimed → reserved`: finds a worker that can take the experiment now, at a price within every cap. */
export async function quoteStep(drive: Drive, experiment: Experiment): Promise<void> {
  if (experiment.attempt > 0 && (await followOlder(drive, experiment))) return;
  if (experiment.attempt >= MAX_ATTEMPTS) return giveUp(drive, experiment.reason ?? EXHAUSTED);
  const target = await pickWorker(drive, experiment);
  if (!target) return;
  const { db } = drive.ports;
  if (!(await acquireSlot(db, target.endpoint, experiment.experimentId, drive.nowMs))) {
    return turnAway(drive, experiment, target, { isBusy: true, reason: BUSY });
  }
  try {
    const refusal = await tryWorker(drive, experiment, target);
    if (refusal) await turnAway(drive, experiment, target, refusal);
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    if (isOurFault(error)) return giveUp(drive, toReason(error));
    const isChainAway = error instanceof UnpayableError && error.code === 'chain_unreadable';
    await turnAway(drive, experiment, target, { isBusy: isChainAway, reason: toReason(error) });
  }
}

/** What is wrong on our side is no better with another worker. */
function isOurFault(error: CoordinatorError): boolean {
  return (
    error instanceof FrozenError ||
    error instanceof NoWalletError ||
    error instanceof SignerError ||
    error instanceof ConfigurationError ||
    (error instanceof UnpayableError && (error.code === 'clock_skew' || error.code === 'contract_wallet'))
  );
}

async function giveUp(drive: Drive, reason: Reason): Promise<void> {
  await releaseSlots(drive.ports.db, drive.lease.experimentId);
  await endWithoutWorker(drive, await drive.load(), reason);
}

const EXHAUSTED: Reason = { code: 'too_many_attempts', text: 'No attempt of this experiment came to an end.' };

const BUSY: Reason = {
  code: 'worker_busy',
  text: 'The worker is running another experiment; this one waits for it.',
  nextStep: 'Wait with get_experiment, or submit to another worker.',
};

const FREE: Reason = {
  code: 'worker_free',
  text: 'The worker asks for no payment; such a worker is never chosen automatically.',
  nextStep: 'Name it as the worker of a submission to use it.',
};

async function pickWorker(drive: Drive, experiment: Experiment): Promise<Target | null> {
  if (experiment.workerRequest !== 'auto') {
    return { endpoint: experiment.workerRequest, workerId: experiment.workerId, choice: 'named by the caller' };
  }
  const pick = await drive.ports.chooseWorker(experiment);
  if (pick.kind === 'worker') return pick;
  if (pick.kind === 'wait' && drive.nowMs - experiment.createdAtMs < drive.ports.patience.queueMs) {
    await drive.pause(drive.ports.patience.pollMs);
    return null;
  }
  await endWithoutWorker(drive, experiment, pick.kind === 'none' ? pick.reason : BUSY);
  return null;
}

/** Asks one worker, before anything is signed, whether it is free and what it wants; reserves its price. */
async function tryWorker(drive: Drive, experiment: Experiment, target: Target): Promise<Refusal | null> {
  const { worker, desk, db } = drive.ports;
  const health = await worker.fetchHealth(target.endpoint, drive.signal);
  if (health?.isBusy) return { isBusy: true, reason: BUSY };
  const probe = await worker.probe(target.endpoint, drive.signal);
  const expectedSeconds = Math.min(health?.timeoutSeconds ?? DEFAULT_RUN_SECONDS, DEFAULT_RUN_SECONDS);
  switch (probe.kind) {
    case 'unprobeable':
      return {
        isBusy: false,
        reason: {
          code: 'worker_unprobeable',
          text: `The worker answered the probe with HTTP ${probe.status}, not with a price.`,
        },
      };
    case 'free':
      // A stranger who gives work away is only used on the caller's own word.
      if (experiment.workerRequest === 'auto') return { isBusy: false, reason: FREE };
      await reserveFree(drive, experiment, target);
      return null;
    case 'priced': {
      // Who pays is known from here on, so that an offer which names us as its payee falls away.
      await desk.fetchPayer();
      const terms = desk.readTerms(probe.headers, probe.body);
      const quote = experiment.quoteId === null ? undefined : await loadQuote(db, experiment.quoteId);
      const isQuoted = quote?.workerEndpoint === target.endpoint;
      const offers = isQuoted ? [matchQuote(quote.terms, terms)] : requirePayable(terms);
      const offer = pickCheapest(selectUsable(offers, experiment, expectedSeconds), experiment);
      await reservePaid(drive, experiment, target, terms, offer, expectedSeconds);
      return null;
    }
  }
}

/** Time that a payment needs beyond the run itself, in seconds (x402.md section 6). */
const SETTLE_SECONDS = 60;

/**
 * The offers whose risks the caller takes.
 * @throws UnpayableError when all have one that the caller did not agree to
 */
function selectUsable(offers: readonly Offer[], { consent }: Experiment, expectedSeconds: number): Offer[] {
  const isLateSafe = ({ flow, maxTimeoutSeconds }: Offer) =>
    flow === 'upfront' || maxTimeoutSeconds >= expectedSeconds + SETTLE_SECONDS;
  const paidAfter = offers.filter(({ flow }) => consent.upfront || flow !== 'upfront');
  if (paidAfter.length === 0) {
    throw new UnpayableError(
      'upfront_refused',
      'The worker wants to be paid before it works and refunds nothing.',
      'Choose a worker that settles after the run, or submit with allow_upfront.',
    );
  }
  const inTime = paidAfter.filter((offer) => consent.shortTimeout || isLateSafe(offer));
  if (inTime.length > 0) return inTime;
  const longest = Math.max(...paidAfter.map(({ maxTimeoutSeconds }) => maxTimeoutSeconds));
  throw new UnpayableError(
    'timeout_too_short',
    `The worker wants its payment settled within ${longest} s, but a run may take ${expectedSeconds} s: a late result would be thrown away.`,
    'Choose a worker with a longer limit, or submit with allow_short_timeout.',
  );
}

function pickCheapest(offers: readonly Offer[], experiment: Experiment): Offer {
  const [offer] = offers;
  if (!offer) throw new TypeError('usable offers hold an offer');
  if (offer.priceAtomic <= experiment.maxPriceAtomic) return offer;
  throw new OverBudgetError('experiment', offer.priceAtomic, 0n, experiment.maxPriceAtomic);
}

async function reservePaid(
  drive: Drive,
  experiment: Experiment,
  target: Target,
  terms: AssessedTerms,
  offer: Offer,
  expectedSeconds: number,
): Promise<void> {
  const { desk } = drive.ports;
  await drive.advance('quoted', { worker: target, reason: null });
  const attempt = experiment.attempt + 1;
  const { intent, fromBlock } = await desk.prepareIntent(
    offer,
    {
      experimentId: experiment.experimentId,
      attempt,
      variantHash: experiment.variantHash,
      workerEndpoint: target.endpoint,
    },
    expectedSeconds,
  );
  const caps = await drive.ports.capsOf(experiment);
  const journaled = { workerEndpoint: target.endpoint, workerId: target.workerId, loopId: experiment.loopId };
  await drive.advance('reserved', { attempt, settlement: experiment.settlement }, (trx) =>
    writeIntent(trx, journaled, intent, terms.toStored(offer), fromBlock, caps, drive.nowMs),
  );
}

async function reserveFree(drive: Drive, experiment: Experiment, target: Target): Promise<void> {
  await drive.advance('quoted', { worker: target, reason: null });
  const attempt = experiment.attempt + 1;
  const journaled = { workerEndpoint: target.endpoint, workerId: target.workerId, loopId: experiment.loopId };
  await drive.advance('reserved', { attempt }, (trx) =>
    writeFreeAttempt(trx, experiment.experimentId, attempt, journaled, drive.nowMs),
  );
}

/** Leaves a worker that cannot be used: another one is tried, or the caller's only one is waited for or given up. */
async function turnAway(drive: Drive, before: Experiment, target: Target, refusal: Refusal): Promise<void> {
  const { db, patience } = drive.ports;
  const experiment = await drive.load();
  await releaseSlots(db, experiment.experimentId);
  if (experiment.workerRequest !== 'auto') {
    const isPatient = refusal.isBusy && drive.nowMs - before.createdAtMs < patience.queueMs;
    if (!isPatient) return endWithoutWorker(drive, experiment, refusal.reason);
    await drive.advance('claimed', { reason: refusal.reason });
    return drive.pause(patience.pollMs);
  }
  const until = drive.nowMs + (refusal.isBusy ? AVOID_MS.busy : AVOID_MS.unusable);
  await drive.advance('claimed', { reason: refusal.reason, avoid: { ...experiment.avoid, [target.endpoint]: until } });
}

/** Nobody can take the experiment: it is refused, unless an older attempt may still be used by its worker. */
async function endWithoutWorker(drive: Drive, experiment: Experiment, reason: Reason): Promise<void> {
  if (experiment.settlement === 'pending' || experiment.settlement === 'unknown') {
    await drive.advance('claimed', { reason });
    return drive.pause(drive.ports.patience.pollMs);
  }
  await drive.refuse(reason);
}
