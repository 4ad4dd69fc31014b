import * as z from 'zod';
import type { Clock } from '../base/time.ts';
import { RpcError, type RpcNode } from '../net/rpc.ts';
import { addRange, type BlockRange, findGaps } from './chain-ranges.ts';
import type { ChainStore } from './chain-store.ts';
import type { RegistryPlace } from './registries.ts';
import { fetchSeenAgents } from './registry-logs.ts';

export interface ScanDeps {
  readonly rpc: RpcNode;
  readonly store: ChainStore;
  readonly clock: Clock;
}

export interface ScanOptions {
  readonly place: RegistryPlace;
  /** Hash of the chain's first block, if the node has it. */
  readonly genesis: string | null;
  /** When the scan ends, milliseconds of `performance.now()`; what it read by then is kept. */
  readonly untilMs: number;
  readonly signal: AbortSignal;
  /** Reads no more than what was mined since the last scan (and one window where there was none). */
  readonly isNewOnly: boolean;
}

export interface ScanOutcome {
  /** What is read without a gap, from the newest block down; null when nothing is. */
  readonly covered: BlockRange | null;
  /** Logs of agents that this scan read. */
  readonly seen: number;
  /** `pending`: the time was over before anything was read. */
  readonly error: 'rpc_unreachable' | 'rpc_refused' | 'pending' | null;
}

/** Blocks of one request at first; free providers allow as few as five (erc8004.md section 11). */
const MAX_WINDOW = 2_000;
/** The newest blocks are read again the next time, since a reorganisation may still change them. */
const CONFIRMATIONS = 2;
/** Single blocks that the node cannot give are passed over, so that one overlarge block does not hide all older ones. */
const MAX_PASSED_OVER = 3;
/** Windows in a row that the node has to answer before it is asked for wider ones. */
const GROW_AFTER = 4;

const Head = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,13}$/)
  .transform(Number);

/**
 * Reads the log of an identity registry, newest blocks first: what was mined since the last scan, then older blocks down
 * to the registry's first. It goes on where the last scan stopped, also one of another process.
 */
export async function scanRegistry(deps: ScanDeps, options: ScanOptions): Promise<ScanOutcome> {
  const { rpc, store } = deps;
  const { place, genesis } = options;
  const signal = AbortSignal.any([
    options.signal,
    AbortSignal.timeout(Math.max(1, Math.ceil(options.untilMs - performance.now()))),
  ]);
  const head = await fetchHead(rpc, signal);
  if (typeof head !== 'number') return { covered: null, seen: 0, error: signal.aborted ? 'pending' : head.code };
  const state = await store.loadState(place, genesis, head - CONFIRMATIONS);
  const scan = new WindowScan(deps, options, head, signal, state?.windowBlocks ?? MAX_WINDOW);
  // A chain that has not come as far as the registry's first block is another one: a local network, read in full.
  const floor = place.startBlock <= head ? place.startBlock : 0;
  const known = state?.covered ?? [];
  const knownTop = known[0]?.to ?? Math.max(floor, head - scan.windowBlocks + 1) - 1;
  for (const gap of findGaps(known, { from: options.isNewOnly ? Math.max(floor, knownTop + 1) : floor, to: head })) {
    if (!(await scan.read(gap))) break;
  }
  await scan.keepWindow();
  const covered = scan.scanned.reduce(addRange, known).find(({ to }) => to === head) ?? null;
  const late = covered === null ? 'pending' : null;
  return { covered, seen: scan.seen, error: signal.aborted ? late : scan.error };
}

async function fetchHead(rpc: RpcNode, signal: AbortSignal): Promise<number | RpcError> {
  try {
    const answer = Head.safeParse(await rpc.request({ method: 'eth_blockNumber' }, { signal }));
    return answer.success ? answer.data : new RpcError('rpc_unreachable', 'eth_blockNumber');
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
}

/** Reads gaps window by window; the window shrinks with every refusal. */
class WindowScan {
  readonly scanned: BlockRange[] = [];
  seen = 0;
  error: RpcError['code'] | null = null;
  windowBlocks: number;
  #passedOver = 0;
  #isKept = true;
  #lastGood = 1;
  /** Smallest span that was refused since the last block that was passed over. */
  #refused = Number.POSITIVE_INFINITY;
  #inARow = 0;

  constructor(
    private readonly deps: ScanDeps,
    private readonly options: ScanOptions,
    private readonly head: number,
    private readonly signal: AbortSignal,
    lastWindow: number,
  ) {
    // What the node refused once it may take today: one step up per scan costs one request if not.
    this.windowBlocks = Math.min(MAX_WINDOW, Math.max(1, lastWindow) * 2);
  }

  /** @returns false when the scan is over */
  async read(gap: BlockRange): Promise<boolean> {
    let to = gap.to;
    while (to >= gap.from) {
      if (this.signal.aborted) return false;
      const range = { from: Math.max(gap.from, to - this.windowBlocks + 1), to };
      const isRead = await this.#tryWindow(range);
      if (isRead) to = range.from - 1;
      else if (range.from < to) this.#shrink(range);
      else if (this.#passedOver < MAX_PASSED_OVER && !this.signal.aborted) {
        this.#passedOver += 1;
        this.windowBlocks = this.#lastGood;
        this.#refused = Number.POSITIVE_INFINITY;
        to -= 1;
      } else return false;
    }
    return true;
  }

  /** Keeps a window that shrank without any answer, so that the next scan begins with less. */
  async keepWindow(): Promise<void> {
    if (this.#isKept) return;
    const { deps, options } = this;
    await deps.store.saveWindowSize(options.place, options.genesis, this.windowBlocks, deps.clock.nowMs());
  }

  #shrink({ from, to }: BlockRange): void {
    const span = to - from + 1;
    this.#refused = Math.min(this.#refused, span);
    this.windowBlocks = span >> 1;
    this.#isKept = false;
    this.#inARow = 0;
  }

  /** A node that was busy for a moment gets its full windows back; one with a limit is not asked beyond it again. */
  #grow(): void {
    this.#isKept = true;
    this.#lastGood = this.windowBlocks;
    this.#inARow += 1;
    const wider = Math.min(MAX_WINDOW, this.windowBlocks * 2);
    if (this.#inARow % GROW_AFTER === 0 && wider < this.#refused) this.windowBlocks = wider;
  }

  async #tryWindow(range: BlockRange): Promise<boolean> {
    const { rpc, store, clock } = this.deps;
    const { place, genesis } = this.options;
    try {
      const agents = await fetchSeenAgents(rpc, place, range, this.signal);
      const final = { from: range.from, to: Math.min(range.to, this.head - CONFIRMATIONS) };
      await store.saveWindow(place, genesis, { range, final, agents, windowBlocks: this.windowBlocks }, clock.nowMs());
      this.scanned.push(range);
      this.seen += agents.length;
      this.error = null;
      this.#grow();
      return true;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.error = error.code;
      return false;
    }
  }
}
