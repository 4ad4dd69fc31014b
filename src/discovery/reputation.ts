import type { Hex } from 'viem';
import { findRegistries } from '../base/registries.ts';
import type { AgentIdentity } from './agent-identity.ts';
import type { BlockRange } from './chain-ranges.ts';
import { findRegistryPlace } from './registries.ts';
import { RegistryCalls, type TokenAnswer } from './registry-calls.ts';
import { ReputationCalls } from './reputation-calls.ts';
import { type FeedbackPointer, scanPointers } from './reputation-logs.ts';
import { checkProof, type ProofDeps } from './reputation-proof.ts';
import { readFeedbackRows } from './reputation-rows.ts';
import { type FeedbackRow, type Score, summariseRows } from './reputation-score.ts';

/**
 * What the chain says of an agent, by weight (erc8004.md section 8); our own record comes before all of it and is kept
 * elsewhere. Each part is null when nothing of that kind stands.
 */
export interface Reputation {
  /** By reviewers whom the operator trusts. */
  readonly trusted: Score | null;
  /** By others, with a payment to the agent that is proven on the chain; each payment counts once. */
  readonly paid: Score | null;
  /** By anybody. To be shown, never to be ranked by: such feedback costs nothing but gas. */
  readonly others: Score | null;
}

/** Whom a reputation is about, and who must not have a say in it. */
export interface Subject {
  readonly agent: AgentIdentity;
  /** Addresses besides owner and wallet to which the agent is known to be paid. */
  readonly payees: readonly string[];
  /** Our own addresses: what we saw ourselves is in our own record. */
  readonly ours: readonly string[];
}

/** What one reading leaves for the next: blocks and proofs that need not be read again. */
export interface Progress {
  readonly covered: readonly BlockRange[];
  /** Proven payments, `<client>:<index>` → `<chain>:<transaction>`. */
  readonly payments: Readonly<Record<string, string>>;
  /** Rows whose proof is not checked yet. */
  readonly waiting: readonly WaitingProof[];
}

export interface WaitingProof extends FeedbackPointer {
  /** How often it was tried in vain. */
  readonly tries: number;
}

export interface ReputationReading {
  /** Null: nobody has rated the agent. */
  readonly reputation: Reputation | null;
  /** False: bounds or the node kept us from reading all of it. */
  readonly isComplete: boolean;
  readonly progress: Progress;
}

export interface ReputationDeps extends ProofDeps {
  /** Reviewers whom the operator trusts. */
  readonly trustedReviewers: readonly string[];
}

export const NO_PROGRESS: Progress = { covered: [], payments: {}, waiting: [] };

/** Files of one reading; each may be a stranger's slow host. */
const MAX_FILES = 20;
/** Files that are read at once. */
const PARALLEL_FILES = 4;
const MAX_TRIES = 3;
const MAX_WAITING = 50;
const MAX_PAYMENTS = 500;

/**
 * Reads the reputation of one agent from the chain, within bounds that no number of rows or files can break.
 * @returns null when it cannot be read: no registry, no node, or no answer
 */
export async function readReputation(
  deps: ReputationDeps,
  subject: Subject,
  kept: Progress,
  signal: AbortSignal,
): Promise<ReputationReading | null> {
  const { chainId, agentId, registry } = subject.agent;
  const place = findRegistryPlace(chainId);
  const pair = findRegistries(chainId);
  const rpc = place && pair && place.address === registry ? await deps.openRpc(chainId) : null;
  if (!rpc || !place || !pair) return null;
  const token = await readToken(new RegistryCalls(rpc, place), agentId, signal);
  if (token.kind === 'unknown') return null;
  if (token.kind === 'absent') return { reputation: null, isComplete: true, progress: NO_PROGRESS };
  const standIns = lowerSet([token.owner, token.wallet ?? null, ...subject.payees]);
  const trusted = [...lowerSet(deps.trustedReviewers)];
  const read = await readFeedbackRows(new ReputationCalls(rpc, pair.reputation, agentId), trusted, signal);
  if (!read) return null;
  // Whoever is paid for the agent's work does not rate it; the registry lets the holder of its wallet do so.
  const silent = new Set([...standIns, ...lowerSet(subject.ours)]);
  const rows = read.rows.filter(({ client }) => !silent.has(client));
  const ofTrusted = rows.filter(({ client }) => trusted.includes(client));
  const ofOthers = rows.filter(({ client }) => !trusted.includes(client));
  const query = { rpc, registry: pair.reputation, agentId, startBlock: place.startBlock, covered: kept.covered };
  const proven = await proveRows(deps, { ...subject, payees: [...standIns] }, ofOthers, query, kept, signal);
  const paid = keepOnePerPayment(ofOthers, proven.progress.payments);
  const reputation: Reputation = {
    trusted: summariseRows(ofTrusted),
    paid: summariseRows(paid),
    others: summariseRows(ofOthers.filter((row) => !paid.includes(row))),
  };
  const isEmpty = Object.values(reputation).every((part) => part === null);
  return {
    reputation: isEmpty ? null : reputation,
    isComplete: read.isComplete && proven.isComplete,
    progress: proven.progress,
  };
}

async function readToken(calls: RegistryCalls, agentId: string, signal: AbortSignal): Promise<TokenAnswer> {
  let found: TokenAnswer = { kind: 'unknown' };
  await calls.readTokens([agentId], { withUri: false, signal }, (_id, answer) => {
    found = answer;
  });
  return found;
}

/** Finds the files of ratings that have none yet and checks what they claim. */
async function proveRows(
  deps: ReputationDeps,
  { agent, payees }: Subject,
  rows: readonly FeedbackRow[],
  query: Parameters<typeof scanPointers>[0],
  kept: Progress,
  signal: AbortSignal,
): Promise<{ progress: Progress; isComplete: boolean }> {
  const standing = new Map(rows.filter(({ tag }) => tag === 'starred').map((row) => [keyOf(row), row]));
  const isOpen = (pointer: FeedbackPointer) => {
    const row = standing.get(keyOf(pointer));
    return row?.value === pointer.value && row.decimals === pointer.decimals && !(keyOf(pointer) in kept.payments);
  };
  if (standing.size === 0) return { progress: kept, isComplete: true };
  const scan = await scanPointers(query, signal);
  const fresh = scan.pointers.map((pointer) => ({ ...pointer, tries: 0 }));
  const known = new Set(kept.waiting.map(keyOf));
  const open = [...fresh.filter((pointer) => !known.has(keyOf(pointer))), ...kept.waiting].filter(isOpen);
  const asked = open.slice(0, MAX_FILES);
  const payments: Record<string, string> = { ...kept.payments };
  const waiting: WaitingProof[] = open.slice(MAX_FILES);
  for (let at = 0; at < asked.length; at += PARALLEL_FILES) {
    const checks = asked.slice(at, at + PARALLEL_FILES).map(async (pointer) => {
      const proof = await checkProof(deps, agent, pointer, new Set(payees), signal);
      if (proof.kind === 'paid') payments[keyOf(pointer)] = proof.payment;
      const tries = pointer.tries + 1;
      if (proof.kind === 'unknown' && tries < MAX_TRIES) waiting.push({ ...pointer, tries });
    });
    await Promise.all(checks);
  }
  const progress = {
    covered: scan.covered,
    payments: Object.fromEntries(Object.entries(payments).slice(-MAX_PAYMENTS)),
    waiting: waiting.slice(0, MAX_WAITING),
  };
  return { progress, isComplete: scan.isComplete && waiting.length === 0 };
}

/** Of the rows that name one payment the first one counts: else a cent would buy any number of ratings. */
function keepOnePerPayment(rows: readonly FeedbackRow[], payments: Progress['payments']): FeedbackRow[] {
  const used = new Set<string>();
  const inOrder = rows.toSorted((a, b) => (a.index < b.index ? -1 : 1));
  return inOrder.filter((row) => {
    const payment = row.tag === 'starred' ? payments[keyOf(row)] : undefined;
    if (payment === undefined || used.has(payment)) return false;
    used.add(payment);
    return true;
  });
}

function keyOf({ client, index }: { client: Hex; index: bigint }): string {
  return `${client}:${index}`;
}

function lowerSet(addresses: readonly (string | null)[]): Set<Hex> {
  return new Set(
    addresses.flatMap((address) =>
      address !== null && /^0x[0-9a-fA-F]{40}$/.test(address) ? [`0x${address.slice(2).toLowerCase()}` as const] : [],
    ),
  );
}
