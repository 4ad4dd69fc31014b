import { InputError, NotFoundError } from '../base/errors.ts';
import { canonicalJson, type Sha256, sha256 } from '../base/hash.ts';
import { type AtomicUsdc, atomicUsdc, parseUsd } from '../base/money.ts';
import { loadChampion } from '../campaign/champion.ts';
import { releaseClaim } from '../experiment/claims.ts';
import { type Experiment, loadExperiment, loadExperiments } from '../experiment/experiment.ts';
import { type Draft, draftExperiment } from '../experiment/journal.ts';
import { type ExperimentState, isCancellable } from '../experiment/states.ts';
import { answerWith, findByKey, findSubmitted } from '../experiment/submission.ts';
import { writeOutcome } from '../payment/journal.ts';
import { NoWalletError } from '../payment/payment-errors.ts';
import { loadQuote, type Quote } from '../payment/quote.ts';
import { type ExperimentView, viewExperiment } from './experiment-view.ts';
import { findRunning, type Insistence, listSimilar, passGate } from './gate.ts';
import { probeWorker } from './probe.ts';
import type { Services } from './services.ts';
import type { RunnerStarter } from './spawn-runner.ts';
import { type NamedBases, resolveVariant, type VariantInput } from './variant-input.ts';
import { waitUntil } from './wait.ts';
import { assertWanted, resolveWorker } from './workers.ts';

export interface SubmitInput extends VariantInput, Insistence {
  /** Endpoint, worker id or `auto`. */
  readonly worker: string;
  readonly quote_id?: string | undefined;
  readonly max_price_usdc?: number | undefined;
  readonly idempotency_key?: string | undefined;
  readonly hypothesis?: string | undefined;
  readonly agent?: string | undefined;
  readonly allow_upfront?: boolean | undefined;
  readonly allow_overlap?: boolean | undefined;
  readonly allow_short_timeout?: boolean | undefined;
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
  const { db, clock } = services;
  const { idempotency_key: key } = input;
  // A key names what it was first used for, whatever the words of the call mean by now.
  const keyed = key === undefined ? undefined : await findByKey(db, key);
  if (keyed) return followExperiment(services, runner, keyed.experimentId, input.wait_seconds, call);
  const { workerRequest, quote } = await findTarget(services, input);
  const bases = await findNamedBases(services);
  const words = hashWords(input, bases);
  const submission = {
    workerRequest,
    quoteId: quote?.quoteId ?? null,
    idempotencyKey: key ?? null,
    loop: null,
    isRepeat: input.repeat ?? false,
  };
  const said = words === null ? undefined : await findSubmitted(db, { ...submission, subject: words });
  if (said) return followExperiment(services, runner, said.experimentId, input.wait_seconds, call);
  const variant = await resolveVariant(db, input, bases);
  const maxPriceAtomic = readMaxPrice(services, input.max_price_usdc);
  const draft: Draft = {
    ...submission,
    variant,
    subject: words ?? variant.variantHash,
    maxPriceAtomic,
    consent: {
      upfront: input.allow_upfront ?? false,
      overlap: input.allow_overlap ?? false,
      shortTimeout: input.allow_short_timeout ?? false,
    },
    hypothesis: input.hypothesis ?? null,
    agent: input.agent ?? null,
  };
  // The same call again costs nothing, so neither gate, caps nor the worker have a say in it.
  const again = await findSubmitted(db, draft);
  if (again) return followExperiment(services, runner, again.experimentId, input.wait_seconds, call);
  const warnings = await passGate(services, variant, input);
  const running = await findRunning(services, variant, input);
  if (running) {
    const answer = await db.transaction().execute((trx) => answerWith(trx, draft, running, clock.nowMs()));
    return followExperiment(services, runner, answer.experimentId, input.wait_seconds, call);
  }
  const similar = await listSimilar(services, variant);
  await assertMayStart(services, workerRequest, quote, maxPriceAtomic, call.signal);
  const { experiment } = await draftExperiment(db, { ...draft, warnings }, clock.nowMs());
  const view = await followExperiment(services, runner, experiment.experimentId, input.wait_seconds, call);
  return similar.length > 0 ? { ...view, similar } : view;
}

/**
 * What a call says whose base is a word: after its run the champion may be another one, and the same call must still be
 * recognised.
 * @returns null for a call that names its variant for good
 */
function hashWords({ base, edits, config }: SubmitInput, bases: NamedBases): Sha256 | null {
  if (base !== 'champion' && base !== 'baseline') return null;
  const spoken = (edits ?? []).map(({ search, replace, diff }) =>
    diff === undefined ? { search, replace } : { diff },
  );
  return sha256(canonicalJson([base, bases.baseline, spoken, config ?? {}]));
}

function readMaxPrice({ config }: Services, maxPriceUsdc: number | undefined): AtomicUsdc {
  if (maxPriceUsdc === undefined) return config.maxPriceAtomic;
  const asked = parseUsd(maxPriceUsdc);
  return asked < config.maxPriceAtomic ? asked : config.maxPriceAtomic;
}

/** Where the experiment goes and under which quote. */
async function findTarget(
  services: Services,
  input: SubmitInput,
): Promise<{ workerRequest: string; quote: Quote | null }> {
  const endpoint = input.worker === 'auto' ? null : (await resolveWorker(services, input.worker)).endpoint;
  if (input.quote_id === undefined) return { workerRequest: endpoint ?? 'auto', quote: null };
  const quote = await loadQuote(services.db, input.quote_id);
  if (!quote) throw new NotFoundError('quote', input.quote_id, FRESH_QUOTE);
  if (endpoint === null || endpoint === quote.workerEndpoint) return { workerRequest: quote.workerEndpoint, quote };
  throw new InputError(
    'quote_of_other_worker',
    `${input.quote_id} is a quote of another worker than ${JSON.stringify(input.worker.slice(0, 200))}. Nothing was signed or paid.`,
    'Leave worker out: the quote names it.',
  );
}

const FRESH_QUOTE = 'Ask for a fresh one with probe_worker.';

/**
 * Refuses what can be refused before an experiment exists; a named worker is asked for its price.
 * @throws CoordinatorError
 */
async function assertMayStart(
  services: Services,
  workerRequest: string,
  quote: Quote | null,
  maxPriceAtomic: AtomicUsdc,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { desk, clock } = services;
  if (workerRequest !== 'auto') assertWanted(services, workerRequest);
  const hasWallet = desk.walletKind !== null;
  if (quote) {
    if (!hasWallet) throw new NoWalletError();
    if (quote.expiresAtMs < clock.nowMs())
      throw new InputError('quote_expired', `${quote.quoteId} has expired. Nothing was signed or paid.`, FRESH_QUOTE);
    return desk.checkCaps(quote.terms.priceAtomic, maxPriceAtomic);
  }
  if (workerRequest === 'auto') {
    if (!hasWallet) throw new NoWalletError();
    return;
  }
  const probe = await probeWorker(services, workerRequest, signal);
  // Without a key a worker that asks for nothing may still be used, when it is named.
  if ('free' in probe) return;
  if (!hasWallet) throw new NoWalletError();
  await desk.checkCaps(atomicUsdc(BigInt(probe.price_atomic)), maxPriceAtomic);
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
    // An older attempt may be paid although the newest is not even signed.
    const isSigned = experiment.settlement !== 'none' && experiment.settlement !== 'unpaid';
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
    await releaseClaim(trx, experimentId);
  });
  return viewExperiment(db, await requireExperiment(services, experimentId), nowMs);
}
