import type { ListQuery } from './index-base.ts';
import { type IndexRow, parseIndexRow } from './index-row.ts';
import { isRecord, type JsonRecord, readField } from './tolerant.ts';

export interface IndexPage {
  readonly rows: readonly IndexRow[];
  /** Rows that could not be read. */
  readonly skippedRows: number;
  readonly hasMore: boolean;
}

/** An index may ignore `limit`; more rows than this of one page are not read. */
const MAX_ROWS = 500;

/**
 * Reads a list answer in any of its envelopes.
 * @returns why it is no list, when it is none: an error must never look like an empty list
 */
export function parseListPage(body: unknown, query: ListQuery): IndexPage | 'success_false' | 'unexpected_shape' {
  if (isRecord(body) && body.success === false) return 'success_false';
  const container = findContainer(body);
  if (!container) return 'unexpected_shape';
  const results = container.slice(0, MAX_ROWS).map(parseIndexRow);
  const rows = results.flatMap((result) => (result.ok ? [result.row] : []));
  return {
    rows,
    skippedRows: results.length - rows.length,
    hasMore: hasMore(isRecord(body) ? body : {}, container.length, query),
  };
}

/** Reads a detail answer: `data`, or the bare object. */
export function parseDetail(body: unknown): IndexRow | 'success_false' | 'unexpected_shape' {
  if (!isRecord(body)) return 'unexpected_shape';
  if (body.success === false) return 'success_false';
  const result = parseIndexRow(isRecord(body.data) ? body.data : body);
  return result.ok ? result.row : 'unexpected_shape';
}

function findContainer(body: unknown): readonly unknown[] | null {
  if (Array.isArray(body)) return body;
  if (!isRecord(body)) return null;
  const data = readField(body, 'data');
  const candidates = [data, readField(body, 'items'), isRecord(data) ? readField(data, 'agents') : undefined];
  return candidates.find((candidate) => Array.isArray(candidate)) ?? null;
}

function hasMore(body: JsonRecord, count: number, query: ListQuery): boolean {
  const meta = readField(body, 'meta');
  const pagination = isRecord(meta) ? readField(meta, 'pagination') : undefined;
  const paging = isRecord(pagination) ? pagination : body;
  const flag = readField(paging, 'hasMore', 'has_more');
  if (typeof flag === 'boolean') return flag;
  const cursor = readField(paging, 'next_cursor');
  if (typeof cursor === 'string' && cursor !== '') return true;
  const pages = readField(paging, 'total_pages');
  if (typeof pages === 'number') return query.page < pages;
  const total = readField(paging, 'total');
  if (typeof total === 'number') return (query.page - 1) * query.limit + count < total;
  return count >= query.limit;
}
