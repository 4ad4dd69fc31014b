import type { BlockRange } from './chain-ranges.ts';

/** How one source of workers did; a failing source is reported and never ends the discovery. */
export interface SourceReport {
  /** `chain`: the registry's log; `chain-known`: known agents, looked up in the registry by their ids. */
  readonly source: 'cache' | '8004scan' | '8004scan-internal' | 'chain' | 'chain-known' | 'static';
  readonly ok: boolean;
  /** Rows or workers that it gave; of `chain`, the logs that were read anew. */
  readonly count: number;
  readonly ms: number;
  /** Code of what went wrong; `pending`: no answer within the call. */
  readonly error: string | null;
  /**
   * `search_dropped`: asked again without the text search, which misses workers. `by_skill`: asked for one of the
   * skill's paths.
   */
  readonly note?: 'search_dropped' | 'by_skill' | 'stale';
  readonly ageSeconds?: number;
  /** Blocks that are read without a gap, from the newest down; older ones may be missing. */
  readonly blocks?: BlockRange;
}

export type SourceOutcome = Pick<SourceReport, 'ok' | 'count' | 'error' | 'blocks'>;

/** The reports of one climb, in the order in which its sources were asked. */
export class SourceReports {
  readonly #reports: SourceReport[] = [];

  list(): readonly SourceReport[] {
    return [...this.#reports];
  }

  /** Stands as `pending` until the source reports, so that a snapshot never lacks one. */
  start(source: SourceReport['source'], note?: SourceReport['note']): (outcome: SourceOutcome) => void {
    const startedMs = performance.now();
    const index = this.#reports.length;
    const base = { source, ...(note === undefined ? {} : { note }) };
    this.#reports.push({ ...base, ok: false, count: 0, ms: 0, error: 'pending' });
    return (outcome) => {
      this.#reports[index] = { ...base, ...outcome, ms: Math.round(performance.now() - startedMs) };
    };
  }
}
