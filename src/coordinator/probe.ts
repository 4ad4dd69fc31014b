import * as z from 'zod';
import { findChain } from '../base/chains.ts';
import { InputError } from '../base/errors.ts';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import type { Worker } from '../discovery/worker.ts';
import { loadWorkerMode } from '../experiment/worker-mode.ts';
import { requirePayable } from '../payment/assess.ts';
import type { StoredTerms } from '../payment/attempt.ts';
import { saveQuote } from '../payment/quote.ts';
import type { Services } from './services.ts';
import { matchPayee } from './worker-view.ts';
import { assertWanted, resolveWorker } from './workers.ts';

/** Offers with less time than this from signing to settling cannot pay for a five-minute run, in seconds. */
const COMFORTABLE_TIMEOUT_SECONDS = 600;

/**
 * Asks one worker for its price and keeps the answer as a quote.
 * @throws NetworkError, TermsError when there is no price that can be paid
 */
export async function probeWorker(services: Services, worker: string, signal?: AbortSignal) {
  const { db, clock, desk, config } = services;
  const target = await resolveWorker(services, worker);
  assertWanted(services, target.endpoint);
  const [health, probe, mode] = await Promise.all([
    services.worker.fetchHealth(target.endpoint, signal),
    services.worker.probe(target.endpoint, signal),
    loadWorkerMode(db, target.endpoint),
  ]);
  const shared = {
    worker_endpoint: target.endpoint,
    ...(target.workerId === null ? {} : { worker_id: target.workerId }),
  };
  if (probe.kind === 'unprobeable') {
    throw new InputError(
      'worker_unprobeable',
      `The worker answered the probe with HTTP ${probe.status}, not with a price. Nothing was signed or paid.`,
      'Choose another worker.',
    );
  }
  if (probe.kind === 'free') {
    return {
      ...shared,
      free: true,
      is_busy: probe.isBusy,
      warnings: [FREE_WARNING],
      next_step: `Submit to it by name: submit_experiment with worker "${target.endpoint}".`,
    };
  }
  const terms = desk.readTerms(probe.headers, probe.body);
  const [offer] = requirePayable(terms);
  const quote = await saveQuote(db, target.endpoint, target.workerId, offer, clock.nowMs());
  const problem = await desk.checkCaps(offer.priceAtomic, config.maxPriceAtomic).then(
    () => null,
    (error: unknown) => error,
  );
  const isWithinBudget = problem === null;
  return {
    ...shared,
    quote_id: quote.quoteId,
    price_usdc: formatUsd(offer.priceAtomic),
    price_atomic: offer.priceAtomic.toString(),
    asset: offer.chain.asset.address,
    network: findChain(offer.chain.chainId)?.name ?? offer.network,
    pay_to: offer.payTo,
    flow: offer.flow,
    ...(mode === null ? {} : { mode }),
    max_timeout_s: offer.maxTimeoutSeconds,
    ...(health?.timeoutSeconds == null ? {} : { run_timeout_s: health.timeoutSeconds }),
    ...(health?.isBusy == null ? {} : { is_busy: health.isBusy }),
    expires_at: isoTime(quote.expiresAtMs),
    within_budget: isWithinBudget,
    warnings: [
      ...listWarnings(
        offer.maxTimeoutSeconds,
        health?.timeoutSeconds ?? null,
        probe.isProxied,
        offer.flow === 'upfront',
      ),
      ...(namesOtherHost(terms.toStored(offer), target.endpoint) ? [OTHER_HOST_WARNING] : []),
      ...(isStrangePayee(target.known, offer.payTo) ? [PAYEE_WARNING] : []),
    ],
    next_step: isWithinBudget
      ? `Buy one run with submit_experiment and quote_id "${quote.quoteId}".`
      : 'It is over a cap that the operator set: choose a cheaper worker with discover_workers {"with_prices": true}.',
  };
}

const PAYEE_WARNING =
  "It wants the money sent to neither the wallet nor the owner of its registration. That is common and often legitimate, but nothing binds this payee to the worker's identity.";

/** Whether a registration names a wallet or an owner, and a payee is neither. */
function isStrangePayee(known: Worker | null, payTo: string): boolean {
  const isComparable = known !== null && (known.agentWallet !== null || known.owner !== null);
  return isComparable && matchPayee(known, payTo) === 'none';
}

const OTHER_HOST_WARNING =
  'Its offer is about a resource of another host. The experiment is sent to the worker alone; nothing of that address is followed.';

const Resource = z.union([z.string(), z.looseObject({ url: z.string() }).transform(({ url }) => url)]);

/** Whether terms sell something of another host: v2 names it beside the offers, v1 in each of them. */
function namesOtherHost({ envelope, offer }: StoredTerms, endpoint: string): boolean {
  const url = Resource.safeParse(envelope.resource ?? offer.resource).data;
  return url !== undefined && URL.canParse(url) && new URL(url).host !== new URL(endpoint).host;
}

const FREE_WARNING =
  'This worker asks for no payment: nobody is bound by anything, and whatever you send is read by a stranger.';

function listWarnings(
  maxTimeoutSeconds: number,
  runSeconds: number | null,
  isProxied: boolean,
  isUpfront: boolean,
): string[] {
  const warnings: string[] = [];
  const needed = runSeconds === null ? COMFORTABLE_TIMEOUT_SECONDS : runSeconds + 60;
  if (maxTimeoutSeconds < needed) {
    warnings.push(
      `Its payment must settle within ${maxTimeoutSeconds} s, but a run may take ${needed} s: a late result would be thrown away unpaid.`,
    );
  }
  if (isProxied)
    warnings.push('It is behind a proxy that may cut answers after about 100 s; a longer run is fetched afterwards.');
  if (isUpfront)
    warnings.push('It wants to be paid before it works and refunds nothing; it is refused without allow_upfront.');
  return warnings;
}
