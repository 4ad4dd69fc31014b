import { InputError, NotFoundError } from '../base/errors.ts';
import { type AtomicUsdc, atomicUsdc, parseUsd } from '../base/money.ts';
import { loadChampion } from '../campaign/champion.ts';
import { type Experiment, loadExperiment, loadExperiments } from '../experiment/experiment.ts';
import { draftExperiment } from '../experiment/journal.ts';
import { type ExperimentState, isCancellable } from '../experiment/states.ts';
import { OverBudgetError } from '../payment/budget.ts';
import { NoWalletError } from '../payment/desk.ts';
import { writeOutcome } from '../payment/journal.ts';
import { loadQuote, type Quote } from '../payment/quote.ts';
import { type ExperimentView, viewExperiment } from './experiment-view.ts';
import type { Services } from './services.ts';
import type { RunnerStarter } from './spawn-runner.ts';
import { type NamedBases, resolveVariant, type VariantInput } from './variant-input.ts';
import { waitUntil } from './wait.ts';
import { probeWorker, resolveWorker } from './workers.ts';

export interface SubmitInput extends VariantInput {
  /** Endpoint, worker id or `auto`. */
  readonly worker: string;
  readonly quote_id?: string | undefined;
  readonly max_price_usdc?: number | undefined;
  readonly idempotency_key?: string | undefined;
  readonly hypothesis?: string | undefined;
  readonly agent?: string | undefined;
  readonly wait_seconds: number;
}

/** What a call of ours may use to say how far it is and to notice that its caller left. */
export interface CallContext {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((message: string) => void) | undefined;
}

/**
 * Writes an experiment down, has it executed, and waits for it for a while.
 * @throws CoordinatorError while nothing is written: then nothing was signed or paid
 */
export async function submitExperiment(
  services: Services,
  runner: RunnerStarter,
  input: SubmitInput,
  call: CallContext,
): Promise<ExperimentView> {
  const { db, clock, desk } = services;
  const variant = await resolveVariant(db, input, await findNamedBases(services));
  if (desk.walletKind === null && !(await isFree(services, input))) throw new NoWalletError();
  const maxPriceAtomic = readMaxPrice(services, input.max_price_usdc);
  const target = await chooseTarget(services, input, maxPriceAtomic, call.signal);
  const { experiment } = await draftExperiment(
    db,
    {
      variant,
      workerRequest: target.workerRequest,
      quoteId: target.quoteId,
      maxPriceAtomic,
      idempotencyKey: input.idempotency_key ?? null,
      hypothesis: input.hypothesis ?? null,
      agent: input.agent ?? null,
      loop: null,
    },
    clock.nowMs(),
  );
  return followExperiment(services, runner, experiment.experimentId, input.wait_seconds, call);
}

/** Without a key a worker that asks for nothing may still be used, when it is named. */
async function isFree(services: Services, input: SubmitInput): Promise<boolean> {
  if (input.worker === 'auto' || input.quote_id !== undefined) return false;
  const { endpoint } = await resolveWorker(services, input.worker);
  return (await services.worker.probe(endpoint)).kind === 'free';
}

function readMaxPrice({ config }: Services, maxPriceUsdc: number | undefined): AtomicUsdc {
  if (maxPriceUsdc === undefined) return config.maxPriceAtomic;
  const asked = parseUsd(maxPriceUsdc);
  return asked < config.maxPriceAtomic ? asked : config.maxPriceAtomic;
}

/** Where the experiment goes and under which quote; a named worker is asked for its price first. */
async function chooseTarget(
  services: Services,
  input: SubmitInput,
  maxPriceAtomic: AtomicUsdc,
  signal: AbortSignal | undefined,
) {
  if (input.quote_id !== undefined) {
    const quote = await requireQuote(services, input.quote_id);
    const isOther =
      input.worker !== 'auto' && (await resolveWorker(services, input.worker)).endpoint !== quote.workerEndpoint;
    if (isOther) {
      throw new InputError(
        'quote_of_other_worker',
        `${input.quote_id} is a quote of another worker than ${JSON.stringify(input.worker.slice(0, 200))}. Nothing was signed or paid.`,
        'Leave worker out: the quote names it.',
      );
    }
    await services.desk.checkCaps(quote.terms.priceAtomic, maxPriceAtomic);
    return { workerRequest: quote.workerEndpoint, quoteId: quote.quoteId };
  }
  if (input.worker === 'auto') return { workerRequest: 'auto', quoteId: null };
  const { endpoint } = await resolveWorker(services, input.worker);
  const probe = await probeWorker(services, endpoint, signal);
  if ('free' in probe) return { workerRequest: endpoint, quoteId: null };
  const priceAtomic = atomicUsdc(BigInt(probe.price_atomic));
  if (priceAtomic > maxPriceAtomic) throw new OverBudgetError('experiment', priceAtomic, 0n, maxPriceAtomic);
  await services.desk.checkCaps(priceAtomic, maxPriceAtomic);
  // The caller named a worker and a price cap, not a quote: whatever stays within the cap is what was asked for.
  return { workerRequest: endpoint, quoteId: null };
}

async function requireQuote({ db, clock }: Services, quoteId: string): Promise<Quote> {
  const quote = await loadQuote(db, quoteId);
  const nextStep = 'Ask for a fresh one with probe_worker.';
  if (!quote) throw new NotFoundError('quote', quoteId, nextStep);
  if (quote.expiresAtMs < clock.nowMs())
    throw new InputError('quote_expired', `${quoteId} has expired. Nothing was signed or paid.`, nextStep);
  return quote;
}

/** What "champion" and "baseline" mean outside a loop: those of the script that ran last. */
async function findNamedBases({ db }: Services): Promise<NamedBases> {
  const [latest] = await loadExperiments(db, { limit: 1 });
  if (!latest) return { champion: null, baseline: null };
  const champion = await loadChampion(db, latest.rootHash, null);
  return { champion: champion?.experimentId ?? null, baseline: latest.rootHash };
}

/** Shows an experiment, waiting for its end at most so many seconds. Leaving or timing out stops nothing but the waiting. */
export async function followExperiment(
  services: Services,
  runner: RunnerStarter,
  experimentId: string,
  waitSeconds: number,
  call: CallContext,
): Promise<ExperimentView> {
  const { db, clock } = services;
  let shown = '';
  const experiment = await waitUntil(
    async () => {
      const now = await requireExperiment(services, experimentId);
      if (now.finishedAtMs === null) await runner.ensure(services);
      if (now.state !== shown) call.onProgress?.(`${now.experimentId}: ${now.state}`);
      shown = now.state;
      return now;
    },
    (now) => now.finishedAtMs !== null,
    waitSeconds,
    call.signal,
  );
  return viewExperiment(db, experiment, clock.nowMs());
}

async function requireExperiment({ db }: Services, experimentId: string): Promise<Experiment> {
  const experiment = await loadExperiment(db, experimentId);
  if (experiment) return experiment;
  throw new NotFoundError(
    'experiment',
    experimentId,
    'Use an experiment_id that submit_experiment, run_loop or get_leaderboard gave.',
  );
}

/**
 * Cancels an experiment of which nothing is signed yet.
 * @throws InputError `not_cancellable` afterwards: what is signed can be used by its worker
 */
export async function cancelExperiment(services: Services, experimentId: string): Promise<ExperimentView> {
  const { db, clock } = services;
  const nowMs = clock.nowMs();
  await db.transaction().execute(async (trx) => {
    const experiment = await loadExperiment(trx, experimentId);
    if (!experiment) return;
    const isSigned = experiment.settlement === 'pending' || experiment.settlement === 'unknown';
    if (!isCancellable(experiment.state) || isSigned) {
      throw new InputError(
        'not_cancellable',
        `${experimentId} is ${experiment.state}: only what is not signed yet can be cancelled.`,
        'Wait for it with get_experiment.',
      );
    }
    if (experiment.state === 'reserved')
      await writeOutcome(trx, experimentId, experiment.attempt, { kind: 'unpaid', reason: 'cancelled' }, nowMs);
    // The raised epoch fences the process that is working on it.
    await trx
      .updateTable('experiments')
      .set((eb) => ({
        state: 'cancelled' satisfies ExperimentState,
        finished_at: nowMs,
        updated_at: nowMs,
        epoch: eb('epoch', '+', 1),
      }))
      .where('experiment_id', '=', experimentId)
      .execute();
    await trx.deleteFrom('slots').where('experiment_id', '=', experimentId).execute();
  });
  return viewExperiment(db, await requireExperiment(services, experimentId), nowMs);
}
