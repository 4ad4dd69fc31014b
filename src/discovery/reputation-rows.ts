import type { Hex } from 'viem';
import type { ReputationCalls } from './reputation-calls.ts';
import type { FeedbackRow } from './reputation-score.ts';

/** What could be read of an agent's feedback. */
export interface RowsRead {
  readonly rows: readonly FeedbackRow[];
  /** False: there is more than was read, because of a bound or because the node did not answer. */
  readonly isComplete: boolean;
}

/** Clients of one call at first, halved whenever the node cannot answer: the registry loops over all their rows. */
const FIRST_SLICE = 200;
/** Whoever has more reviewers than this has most of them from one hand: the newest are read. */
const MAX_CLIENTS = 2_000;
const MAX_ROWS = 10_000;
/** Slices that fail in one reading before it ends. */
const MAX_FAILURES = 16;

/**
 * Reads the standing feedback of an agent within bounds, the reviewers whom the operator trusts first, so that no
 * number of rows of others keeps theirs from being read (erc8004.md section 8).
 * @param trusted lower case
 * @returns null when the node said nothing at all
 */
export async function readFeedbackRows(
  calls: ReputationCalls,
  trusted: readonly Hex[],
  signal: AbortSignal,
): Promise<RowsRead | null> {
  const everybody = await calls.fetchClients(signal);
  if (everybody === null && trusted.length === 0) return null;
  const known = new Set(everybody ?? trusted);
  const first = trusted.filter((client) => known.has(client));
  const others = (everybody ?? []).filter((client) => !first.includes(client));
  const reading = new Reading(calls, signal);
  await reading.read(first);
  // The newest come last in the registry and first here.
  const asked = [...new Set(others)].reverse().slice(0, MAX_CLIENTS);
  await reading.read(asked);
  const isCut = everybody === null || asked.length < others.length;
  return { rows: reading.rows, isComplete: !isCut && reading.isComplete };
}

class Reading {
  readonly rows: FeedbackRow[] = [];
  isComplete = true;
  #failures = 0;
  #slice = FIRST_SLICE;

  constructor(
    private readonly calls: ReputationCalls,
    private readonly signal: AbortSignal,
  ) {}

  async read(clients: readonly Hex[]): Promise<void> {
    for (let at = 0; at < clients.length; ) {
      if (this.signal.aborted || this.#failures >= MAX_FAILURES || this.rows.length >= MAX_ROWS) {
        this.isComplete = false;
        return;
      }
      const slice = clients.slice(at, at + this.#slice);
      if (await this.#readSlice(slice)) at += slice.length;
      else this.#slice = Math.max(1, slice.length >> 1);
    }
  }

  /** @returns false when the slice has to be asked for again, smaller */
  async #readSlice(slice: readonly Hex[]): Promise<boolean> {
    const rows = await this.calls.fetchRows(slice, this.signal);
    if (rows) {
      this.#take(rows, slice);
      return true;
    }
    this.#failures += 1;
    const [only] = slice;
    if (slice.length > 1 || only === undefined) return false;
    // One client with too many rows for a call: its newest stand for it.
    this.isComplete = false;
    this.#take((await this.calls.fetchNewestRows(only, this.signal)) ?? [], slice);
    this.#slice = FIRST_SLICE;
    return true;
  }

  /** Rows of clients that nobody asked for are the node's invention. */
  #take(rows: readonly FeedbackRow[], slice: readonly Hex[]): void {
    const asked = new Set(slice);
    const taken = rows.filter(({ client }) => asked.has(client)).slice(0, MAX_ROWS - this.rows.length);
    if (taken.length < rows.length) this.isComplete = false;
    this.rows.push(...taken);
  }
}
