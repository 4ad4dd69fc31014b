import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import type { OwnRecord, TrackRecord } from '../campaign/own-record.ts';
import type { Price } from '../campaign/prices.ts';
import type { KnownReputation } from '../discovery/reputation-book.ts';
import type { Worker } from '../discovery/worker.ts';
import type { Table } from './columns.ts';
import { type ReputationView, viewDatedReputation, viewReputation } from './reputations.ts';

/** What is known of a worker when it is shown. */
export interface ShownWorker {
  readonly worker: Worker;
  /** What it asked; `no_answer`: it was asked and did not answer in time; null: nobody asked. */
  readonly price: Price | 'no_answer' | null;
  /** Why the caller's own limits hide it. */
  readonly unfit: string | null;
  /** A track record where the details are shown. */
  readonly record: OwnRecord | TrackRecord | undefined;
  /** Undefined: not read yet. */
  readonly reputation: KnownReputation | undefined;
}

/** One worker as discover_workers shows it (design.md section 4). */
export interface WorkerView {
  readonly identity: string;
  readonly worker_endpoint?: string;
  readonly worker_id?: string;
  readonly price_usdc?: string;
  readonly price_problem?: string;
  readonly hidden_reason?: string;
  readonly health?: string;
  readonly own_record?: {
    readonly runs: number;
    readonly scored: number;
    readonly lost: number;
    readonly success_rate?: number;
    readonly median_duration_s?: number;
    readonly last_price_usdc?: string;
    readonly last_seen?: string;
  };
  /** Absent: nobody has rated it, or it was not read yet. */
  readonly reputation?: ReputationView;
  readonly payto_match?: string;
  readonly chain?: string;
  readonly agent_id?: string;
  readonly source?: string;
  readonly age_s?: number;
  readonly active?: boolean;
  readonly matched_skill?: string;
  readonly owner?: string;
  readonly other_ids?: string[];
  readonly possible_duplicate_of?: string;
  readonly indexed_at?: string;
  readonly fetched_at?: string;
  readonly untrusted_name?: string;
}

/** A longer address costs more than the id, under which every tool knows the worker as well. */
const MAX_SHORT_ENDPOINT_CHARS = 120;

/** The short name under which tools find a worker again: its endpoint, or its id where that is shorter or all there is. */
export function nameWorker({ workerEndpoint, workerId }: Worker): { worker_endpoint: string } | { worker_id: string } {
  const isShort = workerEndpoint !== null && workerEndpoint.length <= MAX_SHORT_ENDPOINT_CHARS;
  return isShort ? { worker_endpoint: workerEndpoint } : { worker_id: workerId };
}

/** Everything that is shown of a worker. */
export const WORKER_TABLE: Table<ShownWorker, WorkerView> = {
  base: (shown) => ({
    ...nameWorker(shown.worker),
    identity: shown.worker.identity,
    ...viewPrice(shown),
    ...viewHidden(shown),
  }),
  columns: [
    ({ record }) => (record ? { own_record: viewRecord(record) } : {}),
    ({ worker: { health } }) => ({ health: health.status }),
    ({ reputation }) => viewReputation(reputation),
    ({ worker: { untrustedName } }) => (untrustedName === null ? {} : { untrusted_name: untrustedName }),
    ({ worker: { workerId } }) => ({ worker_id: workerId }),
    ({ worker, price }) => (isPriced(price) ? { payto_match: matchPayee(worker, price.payTo) } : {}),
    ({ worker: { chain } }) => (chain === null ? {} : { chain }),
    ({ worker: { agentId } }) => (agentId === null ? {} : { agent_id: agentId }),
    ({ worker: { source, ageSeconds } }) => ({ source, age_s: ageSeconds }),
  ],
};

/** What only the detailed form has, besides the columns of the concise one. */
export const DETAILED_WORKER_TABLE: Table<ShownWorker, WorkerView> = {
  base: WORKER_TABLE.base,
  columns: [
    ({ worker: { workerEndpoint } }) => (workerEndpoint === null ? {} : { worker_endpoint: workerEndpoint }),
    ...WORKER_TABLE.columns,
    ({ record }) => (record ? { own_record: { ...viewRecord(record), ...viewTrack(record) } } : {}),
    ({ reputation }) => viewDatedReputation(reputation),
    ({ worker }) => viewRegistration(worker),
  ],
};

function viewRecord({ runs, scored, lost }: OwnRecord) {
  return { runs, scored, lost };
}

function viewTrack(record: OwnRecord | TrackRecord) {
  if (!('lastPriceAtomic' in record)) return {};
  const { runs, scored, lastSeenMs, medianDurationSeconds, lastPriceAtomic } = record;
  return {
    success_rate: Math.round((scored / runs) * 1_000) / 1_000,
    last_seen: isoTime(lastSeenMs),
    ...(medianDurationSeconds === null ? {} : { median_duration_s: medianDurationSeconds }),
    ...(lastPriceAtomic === null ? {} : { last_price_usdc: formatUsd(lastPriceAtomic) }),
  };
}

function viewRegistration(worker: Worker): Partial<WorkerView> {
  const others = worker.identities.map(({ workerId }) => workerId).filter((workerId) => workerId !== worker.workerId);
  return {
    ...(worker.active === null ? {} : { active: worker.active }),
    ...(worker.matchedSkill === null ? {} : { matched_skill: worker.matchedSkill }),
    ...(worker.owner === null ? {} : { owner: worker.owner }),
    ...(others.length === 0 ? {} : { other_ids: others }),
    ...(worker.possibleDuplicateOf === null ? {} : { possible_duplicate_of: worker.possibleDuplicateOf }),
    ...(worker.indexedAt === null ? {} : { indexed_at: worker.indexedAt }),
    ...(worker.fetchedAt === null ? {} : { fetched_at: worker.fetchedAt }),
  };
}

function viewPrice({ price }: ShownWorker): Partial<WorkerView> {
  if (price === null) return {};
  if (price === 'no_answer') return { price_problem: 'no_answer_in_time' };
  switch (price.kind) {
    case 'free':
      return { price_usdc: '0.00' };
    case 'unusable':
      return { price_problem: price.code };
    case 'priced':
      return { price_usdc: formatUsd(price.priceAtomic) };
  }
}

function viewHidden({ worker, unfit }: ShownWorker): Partial<WorkerView> {
  const reason = worker.hiddenReason ?? unfit;
  return reason === null ? {} : { hidden_reason: reason };
}

function isPriced(price: ShownWorker['price']): price is Price & { readonly kind: 'priced' } {
  return price !== null && price !== 'no_answer' && price.kind === 'priced';
}

/** Whether a payee is the worker's registered wallet or owner: `none` is common and often legitimate. */
export function matchPayee({ agentWallet, owner }: Worker, payTo: string): 'wallet' | 'owner' | 'none' {
  const isSame = (address: string | null) => address?.toLowerCase() === payTo.toLowerCase();
  if (isSame(agentWallet)) return 'wallet';
  return isSame(owner) ? 'owner' : 'none';
}
