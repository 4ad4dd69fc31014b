import { type Clock, sleep } from '../base/time.ts';
import type { AgentIdentity } from './agent-identity.ts';
import type { ChainAccess, OpenRegistry } from './chain-access.ts';
import { scanRegistry } from './chain-scan.ts';
import type { IndexRow } from './index-row.ts';
import { findMatchingSkill } from './oasf.ts';
import type { RegistrationReader } from './registration-source.ts';
import { findRegistryPlace } from './registries.ts';
import type { RegistryProblem, TokenAnswer } from './registry-calls.ts';
import { capClaims, readClaims } from './registry-logs.ts';
import type { SourceReports } from './source-report.ts';
import type { Worker } from './worker.ts';

export interface ChainStepDeps {
  readonly access: ChainAccess;
  readonly reader: RegistrationReader;
  readonly clock: Clock;
}

/** What a climb of the ladder hands to its steps on the chain. */
export interface ChainClimb {
  readonly chainId: number;
  readonly skill: string | undefined;
  /** Ends everything. */
  readonly signal: AbortSignal;
  readonly notBeforeMs: number;
  /** Milliseconds until the call's time is over. */
  readonly leftMs: () => number;
  /** What is known by now. */
  readonly workers: () => readonly Worker[];
  readonly publish: (worker: Worker) => void;
  readonly reports: SourceReports;
  /** Finds out what an agent is, and publishes it; never rejects. */
  readonly assess: (row: IndexRow) => Promise<void>;
}

/** Agents of one look-up: known ones, and those that claim the skill. */
const MAX_LOOKUP = 200;
/** Files of strangers that one call reads because of a scan; the next call goes on. */
const MAX_UNREAD = 64;
/** Share of what is left of the call that goes into reading logs; the rest is for what they name. */
const SCAN_SHARE = 0.6;

/** The steps of one climb that ask a chain's identity registry itself. */
export class ChainStep {
  readonly #opening: Promise<OpenRegistry | RegistryProblem>;
  readonly #asked = new Set<string>();
  readonly #confirmed = new Map<string, TokenAnswer>();
  #dismissed: Readonly<Record<string, number>> = {};

  constructor(
    private readonly deps: ChainStepDeps,
    private readonly climb: ChainClimb,
  ) {
    // At once: by the time that an answer has to be confirmed, the node has said who it is.
    this.#opening = deps.access.open(climb.chainId, climb.signal);
  }

  /** Agents that the scan saw and that nobody needs to see one by one: reason → how many. */
  get dismissed(): Readonly<Record<string, number>> {
    return this.#dismissed;
  }

  /**
   * Looks up agents by their ids; those of other chains and registries are left out.
   * @param agents known from an older list, or from the index, which says no more of them
   * @param withHired also those that were given work from this store
   */
  async lookUp(agents: readonly AgentIdentity[], withHired: boolean): Promise<void> {
    const registry = await this.#open();
    if (typeof registry === 'string') return;
    const { place } = registry.calls;
    const isOfPlace = (agent: AgentIdentity) => agent.chainId === place.chainId && agent.registry === place.address;
    const ids = agents.filter(isOfPlace).map(({ agentId }) => agentId);
    const hired = withHired ? await this.deps.access.source.store.loadHired(place) : [];
    if (ids.length + hired.length === 0) return;
    const report = this.climb.reports.start('chain-known');
    const { found, unknown } = await this.#assess(registry, [...ids, ...hired].slice(0, MAX_LOOKUP));
    report({ ok: unknown === 0 || found > 0, count: found, error: unknown > 0 ? 'rpc_unreachable' : null });
  }

  /**
   * Scans the registry's log as far as the call's time allows and assesses who claims the skill; agents whose files lie
   * elsewhere are read newest first, some per call.
   */
  async scan(isNewOnly: boolean): Promise<void> {
    const report = this.climb.reports.start('chain');
    const registry = await this.#open();
    if (typeof registry === 'string') return report({ ok: false, count: 0, error: registry });
    const { store } = this.deps.access.source;
    const { place, rpc } = registry.calls;
    const options = { place, genesis: registry.genesis, signal: this.climb.signal, isNewOnly };
    const untilMs = performance.now() + this.climb.leftMs() * SCAN_SHARE;
    const known = this.#assessKnown(registry, false);
    const outcome = await scanRegistry({ rpc, store, clock: this.deps.clock }, { ...options, untilMs });
    const { covered, seen, error } = outcome;
    report({ ok: covered !== null, count: seen, error, ...(covered ? { blocks: covered } : {}) });
    await Promise.all([known, this.#assessKnown(registry, true)]);
    await this.#countDismissed(registry);
  }

  /**
   * Asks the registry who owns the workers that were found and where it says that they are paid. A token that does not
   * exist is no worker, whatever an index says of it.
   */
  async confirmOwners(): Promise<void> {
    const registry = await this.#open();
    if (typeof registry === 'string') return;
    const offered = this.climb.workers().filter(({ hiddenReason }) => hiddenReason === undefined);
    const isOpen = (id: string) => !this.#asked.has(id) && !this.#confirmed.has(id);
    const ids = offered.flatMap((worker) => this.#idIn(registry, worker) ?? []).filter(isOpen);
    await registry.calls.readTokens(ids, { withUri: false, signal: this.climb.signal }, (id, answer) => {
      this.#confirmed.set(id, answer);
      for (const worker of this.climb.workers()) if (this.#idIn(registry, worker) === id) this.climb.publish(worker);
    });
  }

  /** The worker with what the registry has confirmed of it, whoever learned something else of it meanwhile. */
  overlay(worker: Worker): Worker {
    const [chainId, registry] = worker.workerId.split(':');
    const place = findRegistryPlace(this.climb.chainId, this.deps.access.source.registries);
    const isHere = chainId === String(this.climb.chainId) && registry === place?.address;
    const answer = isHere && worker.agentId !== null ? this.#confirmed.get(worker.agentId) : undefined;
    return answer ? confirm(worker, answer) : worker;
  }

  async #open(): Promise<OpenRegistry | RegistryProblem | 'pending'> {
    const waiting = new AbortController();
    const late = sleep(Math.max(0, this.climb.leftMs()), AbortSignal.any([this.climb.signal, waiting.signal]));
    const opened = await Promise.race([this.#opening, late.then(() => 'pending' as const)]);
    waiting.abort();
    return opened;
  }

  async #assessKnown(registry: OpenRegistry, withUnread: boolean): Promise<void> {
    const { store } = this.deps.access.source;
    const { place } = registry.calls;
    const { skill } = this.climb;
    const matching = await store.loadMatching(place, skill);
    await this.#assess(registry, matching.slice(0, MAX_LOOKUP));
    if (!withUnread) return;
    const unread = await store.loadUnread(place, MAX_UNREAD, this.deps.clock.nowMs());
    await this.#assess(registry, unread);
  }

  /** Each agent once per climb, and none that is offered already. */
  async #assess(registry: OpenRegistry, agentIds: readonly string[]): Promise<{ found: number; unknown: number }> {
    const isOffered = ({ hiddenReason }: Worker) => hiddenReason === undefined;
    const offered = new Set(
      this.climb
        .workers()
        .filter(isOffered)
        .map((worker) => this.#idIn(registry, worker)),
    );
    const ids = [...new Set(agentIds)].filter((id) => !this.#asked.has(id) && !offered.has(id));
    const counts = { found: 0, unknown: 0 };
    const assessed: Promise<void>[] = [];
    for (const id of ids) this.#asked.add(id);
    await registry.calls.readTokens(ids, { withUri: true, signal: this.climb.signal }, (id, answer) => {
      if (answer.kind === 'found') counts.found += 1;
      if (answer.kind === 'unknown') counts.unknown += 1;
      assessed.push(this.#assessToken(registry, id, answer));
    });
    await Promise.all(assessed);
    return counts;
  }

  async #assessToken(registry: OpenRegistry, agentId: string, answer: TokenAnswer): Promise<void> {
    const { chainId, address } = registry.calls.place;
    const agent = { chainId, registry: address, agentId };
    if (answer.kind === 'absent') {
      const listed = this.climb.workers().find((worker) => this.#idIn(registry, worker) === agentId);
      if (listed) this.climb.publish(confirm(listed, answer));
      return;
    }
    if (answer.kind === 'unknown' || answer.uri === undefined) return;
    const isMatch = await this.#readClaims(registry, agentId, answer.uri);
    if (isMatch) await this.climb.assess(rowOf(agent, answer));
  }

  /**
   * Reads the agent's file and keeps what it claims, so that no later call has to.
   * @returns false when it claims other skills: that is counted, not shown
   */
  async #readClaims(registry: OpenRegistry, agentId: string, uri: string): Promise<boolean> {
    const { signal, notBeforeMs, skill } = this.climb;
    const { store } = this.deps.access.source;
    const isListed = this.climb.workers().some((worker) => this.#idIn(registry, worker) === agentId);
    // A log that holds the file was read already: what it names and does not match is asked for by its id.
    if (readClaims(uri).claims !== null) return true;
    const answer = await this.deps.reader.read(uri, Math.max(1, this.climb.leftMs()), signal, notBeforeMs);
    if (!answer.ok && answer.reason === 'pending') return true;
    const read = answer.ok ? { claims: capClaims(answer.registration.skills) } : { reason: answer.reason };
    await store.saveRead(registry.calls.place, agentId, read, this.deps.clock.nowMs());
    return isListed || 'reason' in read || findMatchingSkill(read.claims, skill) !== null;
  }

  async #countDismissed(registry: OpenRegistry): Promise<void> {
    const shown = this.climb.workers().flatMap((worker) => this.#idIn(registry, worker) ?? []);
    this.#dismissed = await this.deps.access.source.store.countReasons(registry.calls.place, shown);
  }

  #idIn(registry: OpenRegistry, worker: Worker): string | null {
    const { chainId, address } = registry.calls.place;
    return worker.workerId === `${chainId}:${address}:${worker.agentId}` ? worker.agentId : null;
  }
}

function confirm(worker: Worker, answer: TokenAnswer): Worker {
  if (answer.kind === 'unknown') return worker;
  if (answer.kind === 'absent') return { ...worker, hiddenReason: 'not_registered' };
  const wallet = answer.wallet === undefined ? worker.agentWallet : answer.wallet;
  return { ...worker, owner: answer.owner ?? worker.owner, agentWallet: wallet };
}

/** The registry's own words in the form of an index's row; names come from the registration. */
function rowOf(agent: AgentIdentity, token: Extract<TokenAnswer, { kind: 'found' }>): IndexRow {
  return {
    agent,
    nameUntrusted: null,
    descriptionUntrusted: null,
    active: null,
    x402: null,
    owner: token.owner,
    agentWallet: token.wallet ?? null,
    createdAt: null,
    updatedAt: null,
    indexedAt: null,
    feedbackCount: null,
    averageScore: null,
    uri: token.uri ?? null,
    agentUrl: null,
    content: undefined,
    isNoise: false,
  };
}
