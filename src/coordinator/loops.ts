import { isDeepStrictEqual } from 'node:util';
import { normalizeEndpoint } from '../base/endpoint.ts';
import { CoordinatorError, InputError } from '../base/errors.ts';
import type { JsonObject } from '../base/json.ts';
import { parseUsd } from '../base/money.ts';
import { loadChampion } from '../campaign/champion.ts';
import {
  createLoop,
  DEFAULT_AUDIT_SHARE,
  type Loop,
  type LoopSettings,
  loadLoops,
  requireLoop,
  toQueued,
  updateLoop,
} from '../campaign/loop.ts';
import { loadProgress } from '../campaign/loop-engine.ts';
import { describeOutcome } from '../campaign/novelty.ts';
import { findClaim, releaseQueued, takeClaim } from '../experiment/claims.ts';
import type { Edit } from '../experiment/edits.ts';
import { createVariant, type Variant } from '../experiment/variant.ts';
import { saveVariantForm } from '../experiment/variant-form.ts';
import { NoWalletError } from '../payment/payment-errors.ts';
import { saveSource } from '../provenance/sources.ts';
import type { Trx } from '../store/database.ts';
import { findRunning, type Insistence, listSimilar, passGate } from './gate.ts';
import type { Services } from './services.ts';
import { readLeftToday } from './status.ts';
import { loadBase, resolveVariant } from './variant-input.ts';
import { assertWanted } from './workers.ts';

export interface Proposal extends Insistence {
  readonly base?: string | undefined;
  readonly edits?: readonly Edit[] | undefined;
  readonly train_py?: string | undefined;
  readonly config?: JsonObject | undefined;
  readonly hypothesis?: string | undefined;
}

/** A proposal that is to be run, and which of those sent it was, from 1. */
export interface RunnableProposal {
  readonly number: number;
  readonly proposal: Proposal;
}

export interface StartLoopInput {
  readonly train_py?: string | undefined;
  readonly train_path?: string | undefined;
  readonly rounds: number;
  readonly budget_usdc?: number | undefined;
  readonly max_price_usdc?: number | undefined;
  readonly parallel: number;
  readonly prefer?: string | undefined;
  readonly agent?: string | undefined;
  readonly mode?: 'agent' | 'auto' | undefined;
  readonly audit_share?: number | undefined;
  readonly target_val_bpb?: number | undefined;
  /** ISO 8601. */
  readonly deadline?: string | undefined;
}

/** Starts a loop; its unchanged script runs first. @throws CoordinatorError while no loop exists */
export async function startLoop(services: Services, input: StartLoopInput): Promise<string> {
  const { db, clock, desk, config } = services;
  const variant = await resolveVariant(
    db,
    { train_py: input.train_py, train_path: input.train_path },
    { champion: null, baseline: null },
  );
  await passGate(services, { ...variant, parentHash: null }, {});
  if (desk.walletKind === null) throw new NoWalletError();
  const leftAtomic = await readLeftToday(services);
  const wantedAtomic = input.budget_usdc === undefined ? leftAtomic : parseUsd(input.budget_usdc);
  if (leftAtomic === 0n)
    throw new InputError(
      'over_budget',
      'Nothing is left of the budget of 24 hours. Nothing was signed or paid.',
      'Wait until older payments are a day old, or raise AUTORESEARCH_BUDGET.',
    );
  const askedAtomic = input.max_price_usdc === undefined ? config.maxPriceAtomic : parseUsd(input.max_price_usdc);
  const settings: LoopSettings = {
    rounds: input.rounds,
    budgetAtomic: wantedAtomic < leftAtomic ? wantedAtomic : leftAtomic,
    maxPriceAtomic: askedAtomic < config.maxPriceAtomic ? askedAtomic : config.maxPriceAtomic,
    parallel: input.parallel,
    prefer: input.prefer === undefined ? null : readPreferred(services, input.prefer),
    agent: input.agent ?? null,
    mode: input.mode ?? 'agent',
    auditShare: input.audit_share ?? DEFAULT_AUDIT_SHARE,
    targetValBpb: input.target_val_bpb ?? null,
    deadlineMs: input.deadline === undefined ? null : Date.parse(input.deadline),
  };
  // In one transaction: of two equal starts at once one finds the loop of the other.
  return db.transaction().execute(async (trx) => {
    const same = await findSameLoop(trx, variant, settings);
    return same ?? (await createLoop(trx, variant, settings, clock.nowMs())).loopId;
  });
}

/** A start that is repeated, as clients do after a time-out, finds the loop that it already started. */
async function findSameLoop(db: Trx, variant: Variant, settings: LoopSettings): Promise<string | undefined> {
  for (const loop of await loadLoops(db, { limit: 20 })) {
    const isOpen = loop.state === 'running' || loop.state === 'needs_proposals';
    const { budgetAtomic: _own, ...own } = loop.settings;
    const { budgetAtomic: _asked, ...asked } = settings;
    const isSame = loop.baselineHash === variant.trainHash && isDeepStrictEqual(own, asked);
    if (isOpen && isSame && (await loadProgress(db, loop.loopId)).roundsStarted === 0 && loop.queue.length === 0)
      return loop.loopId;
  }
  return undefined;
}

function readPreferred(services: Services, text: string): string {
  const endpoint = normalizeEndpoint(text);
  if (endpoint !== null) {
    assertWanted(services, endpoint);
    return endpoint;
  }
  throw new InputError(
    'bad_endpoint',
    `${JSON.stringify(text.slice(0, 200))} is not the address of a worker.`,
    'Give prefer a full address such as https://host/services/autoresearch-worker.',
  );
}

/** A proposal that was not queued, and why. */
export interface RefusedProposal {
  readonly proposal: number;
  readonly code: string;
  readonly reason: string;
  readonly next_step: string;
}

/** What became of the proposals of one call. */
export interface ProposalReport {
  readonly refused: readonly RefusedProposal[];
  /** Earlier experiments that are much like what was queued, with what they gave. */
  readonly similar: readonly string[];
}

/**
 * Queues proposals; each stands or falls alone.
 * @throws NotFoundError, InputError when the loop takes none
 */
export async function continueLoop(
  services: Services,
  loopId: string,
  proposals: readonly RunnableProposal[],
): Promise<ProposalReport> {
  if (proposals.length === 0) return { refused: [], similar: [] };
  const { db } = services;
  const loop = await requireLoop(services.db, loopId);
  assertOpen(loop);
  const champion = await loadChampion(db, loop.rootHash, loopId);
  const bases = { champion: champion?.experimentId ?? loop.baselineHash, baseline: loop.baselineHash };
  const refused: RefusedProposal[] = [];
  const similar: string[] = [];
  for (const { number, proposal } of proposals) {
    try {
      const near = await queueProposal(services, loop, await resolveProposal(services, proposal, bases), proposal);
      similar.push(...near.map((line) => `proposal ${number}: ${line}`));
    } catch (error) {
      if (!(error instanceof CoordinatorError)) throw error;
      refused.push({ proposal: number, code: error.code, reason: error.message, next_step: error.nextStep });
    }
  }
  return { refused, similar };
}

/**
 * Claims a variant and puts it at the end of a loop's queue, in one step.
 * @returns earlier experiments that are much like it
 * @throws InputError when the gate or an earlier run stands against it; nothing is written then
 */
async function queueProposal(
  services: Services,
  { loopId, rootHash, settings }: Loop,
  variant: Variant,
  proposal: Proposal,
): Promise<string[]> {
  const { db, clock } = services;
  const warnings = await passGate(services, variant, proposal);
  const running = await findRunning(services, variant, proposal);
  if (running) throw duplicate(`is ${running.state} as ${running.experimentId}`);
  const similar = await listSimilar(services, variant);
  const nowMs = clock.nowMs();
  await updateLoop(
    db,
    loopId,
    nowMs,
    (now) => {
      assertOpen(now);
      return { state: 'running', reason: null, queue: [...now.queue, toQueued(variant, proposal.hypothesis ?? null)] };
    },
    async (trx) => {
      await saveSource(trx, variant.trainHash, variant.source, nowMs);
      const effectiveHash = await saveVariantForm(trx, variant, rootHash, warnings, nowMs);
      const earlier = await findClaim(trx, effectiveHash, nowMs);
      if (earlier && !proposal.repeat) throw duplicate(describeOutcome({ experiment: null, claim: earlier }));
      await takeClaim(trx, effectiveHash, { experimentId: null, loopId, agent: settings.agent }, nowMs);
    },
  );
  return similar;
}

function assertOpen({ loopId, state }: Loop): void {
  if (state === 'running' || state === 'needs_proposals') return;
  throw new InputError(
    'loop_over',
    `${loopId} is ${state} and takes no proposals. Nothing was submitted.`,
    'Start another loop with run_loop {"action": "start"}.',
  );
}

function duplicate(what: string): InputError {
  return new InputError(
    'duplicate_variant',
    `The same variant ${what}. Nothing was submitted.`,
    'Propose something that was not tried yet, or send repeat: true to learn how noisy the score is.',
  );
}

/** A whole source is a variant of the champion like any other: it has no lineage, and no rules, of its own. */
async function resolveProposal(
  { db }: Services,
  { base, edits, train_py, config }: Proposal,
  bases: { champion: string; baseline: string },
): Promise<Variant> {
  if (train_py === undefined) return resolveVariant(db, { base: base ?? 'champion', edits, config }, bases);
  const parent = await loadBase(db, base ?? 'champion', bases);
  const place = { base: parent.source, baseConfig: parent.config, isWhole: true };
  return createVariant({ source: train_py, ...place, edits: edits ?? [], config: config ?? {} });
}

/** Stops a loop: what is running ends and is paid as agreed, nothing new starts. */
export async function stopLoop(services: Services, loopId: string): Promise<void> {
  const { db, clock } = services;
  await requireLoop(services.db, loopId);
  await updateLoop(
    db,
    loopId,
    clock.nowMs(),
    (loop) => (loop.state === 'running' || loop.state === 'needs_proposals' ? { state: 'stopped', queue: [] } : null),
    (trx) => releaseQueued(trx, loopId),
  );
}
