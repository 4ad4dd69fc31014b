import { setMaxListeners } from 'node:events';
import { sha256 } from '../base/hash.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/time.ts';
import { type AgentIdentity, formatAgentId } from './agent-identity.ts';
import type { DiscoveryCache } from './discovery-cache.ts';
import { NO_PROGRESS, type Reputation, type ReputationDeps, readReputation, type Subject } from './reputation.ts';
import { type KeptReading, ReputationCache } from './reputation-cache.ts';
import { settleWithin } from './settle.ts';

export interface ReputationBookDeps extends ReputationDeps {
  /** What else is known of an agent; asked only when it is read. */
  readonly describe: (agent: AgentIdentity) => Promise<Subject>;
  readonly cache: DiscoveryCache;
  readonly clock: Clock;
  readonly log: Log;
}

/** A reputation and how old what we know of it is. */
export interface KnownReputation {
  /** Null: nobody has rated the agent. */
  readonly reputation: Reputation | null;
  readonly ageSeconds: number;
}

const FRESH_MS = 60 * 60_000;
/** What bounds or a node cut off is gone on with sooner. */
const FRESH_INCOMPLETE_MS = 10 * 60_000;
/** A chain that could not be read is left alone for so long. */
const RETRY_MS = 60_000;
/** One reading ends at the latest now. */
const READ_MS = 12_000;
/** Agents that are read at once: it is done beside what somebody waits for. */
const PARALLEL = 2;
/** Agents that wait to be read; who asks for more gets them with the next question. */
const MAX_QUEUED = 40;
/** Agents that a process remembers. */
const MAX_KNOWN = 1_000;

/** Keeps reputations and reads them anew in the background; nobody has to wait for a chain. */
export class ReputationBook {
  readonly #cache: ReputationCache;
  readonly #known = new Map<string, KeptReading>();
  readonly #failedAtMs = new Map<string, number>();
  readonly #queue: { key: string; agent: AgentIdentity }[] = [];
  readonly #running = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  /** Other reviewers make another reputation. */
  readonly #trustedHash: string;
  #idle: Promise<void> = Promise.resolve();
  #onIdle: (() => void) | undefined;

  constructor(private readonly deps: ReputationBookDeps) {
    this.#cache = new ReputationCache(deps.cache, deps.log);
    this.#trustedHash = sha256(
      deps.trustedReviewers
        .map((address) => address.toLowerCase())
        .toSorted()
        .join(),
    ).slice(7, 23);
    setMaxListeners(0, this.#closing.signal);
  }

  /** What is known of an agent, however old; undefined when nothing was read yet. Asks nobody but the store. */
  async peek(agent: AgentIdentity): Promise<KnownReputation | undefined> {
    const kept = await this.#load(this.#keyOf(agent));
    if (!kept) return undefined;
    const ageSeconds = Math.max(0, Math.round((this.deps.clock.nowMs() - kept.storedAtMs) / 1_000));
    return { reputation: kept.reputation, ageSeconds };
  }

  /**
   * Has those agents read again whose reputation is not known or old, in the background.
   * @param waitMs how long to wait for that, milliseconds; 0: not at all
   */
  async refresh(agents: readonly AgentIdentity[], waitMs: number): Promise<void> {
    for (const agent of agents) {
      const key = this.#keyOf(agent);
      const isQueued = this.#running.has(key) || this.#queue.some((entry) => entry.key === key);
      if (isQueued || this.#queue.length >= MAX_QUEUED || this.#closing.signal.aborted) continue;
      if (!(await this.#isDue(key))) continue;
      this.#queue.push({ key, agent });
      this.#startNext();
    }
    await settleWithin(this.#idle, waitMs);
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#queue.length = 0;
    await Promise.all(this.#running.values());
  }

  async #isDue(key: string): Promise<boolean> {
    const nowMs = this.deps.clock.nowMs();
    if (nowMs - (this.#failedAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < RETRY_MS) return false;
    const isFresh = (kept: KeptReading | undefined) => {
      const ageMs = nowMs - (kept?.storedAtMs ?? 0);
      return kept !== undefined && ageMs >= 0 && ageMs < (kept.isComplete ? FRESH_MS : FRESH_INCOMPLETE_MS);
    };
    if (isFresh(this.#known.get(key))) return false;
    // Another process may have read it meanwhile.
    this.#known.delete(key);
    return !isFresh(await this.#load(key));
  }

  async #load(key: string): Promise<KeptReading | undefined> {
    const known = this.#known.get(key) ?? (await this.#cache.load(key));
    if (known) this.#remember(key, known);
    return known;
  }

  #remember(key: string, reading: KeptReading): void {
    this.#known.delete(key);
    this.#known.set(key, reading);
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size > MAX_KNOWN) this.#known.delete(oldest);
  }

  #startNext(): void {
    while (this.#running.size < PARALLEL) {
      const next = this.#queue.shift();
      if (!next) break;
      if (this.#onIdle === undefined) {
        this.#idle = new Promise((resolve) => {
          this.#onIdle = resolve;
        });
      }
      const reading = this.#read(next.key, next.agent)
        .catch((error: unknown) => this.deps.log.error({ error, agent: next.key }, 'reputation could not be read'))
        .then(() => {
          this.#running.delete(next.key);
          this.#startNext();
          if (this.#running.size > 0) return;
          this.#onIdle?.();
          this.#onIdle = undefined;
        });
      this.#running.set(next.key, reading);
    }
  }

  async #read(key: string, agent: AgentIdentity): Promise<void> {
    const [kept, subject] = await Promise.all([this.#load(key), this.deps.describe(agent)]);
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(READ_MS)]);
    setMaxListeners(0, signal);
    const reading = await readReputation(this.deps, subject, kept?.progress ?? NO_PROGRESS, signal);
    if (this.#closing.signal.aborted) return;
    const nowMs = this.deps.clock.nowMs();
    if (!reading) {
      if (this.#failedAtMs.size >= MAX_KNOWN) this.#failedAtMs.clear();
      this.#failedAtMs.set(key, nowMs);
      return;
    }
    this.#failedAtMs.delete(key);
    this.#remember(key, { ...reading, storedAtMs: nowMs });
    await this.#cache.save(key, reading, nowMs);
  }

  #keyOf(agent: AgentIdentity): string {
    return `reputation:${this.#trustedHash}:${formatAgentId(agent)}`;
  }
}
