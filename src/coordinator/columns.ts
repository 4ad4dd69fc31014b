/** How much of each row an answer shows. */
export type ResponseFormat = 'concise' | 'detailed';

/** One property of a row, or a few that belong together; empty where there is nothing to tell. */
export type Column<Item, Row> = (item: Item) => Partial<Row>;

/** A concise answer has at most 1,500 tokens of about four characters (mcp.md section 5). */
const MAX_CONCISE_CHARS = 6_000;

export interface Table<Item, Row> {
  /** What every row has, however long it gets. */
  readonly base: (item: Item) => Row;
  /** What rows have besides, the most useful first. */
  readonly columns: readonly Column<Item, Row>[];
}

/**
 * Makes the rows of an answer. The detailed form has all columns; the concise one those that fit beside the rest of the
 * answer, each for all rows or for none, so that a short page needs no second call and a long one stays cheap.
 * @param rest the answer without its rows
 */
export function buildRows<Item, Row extends object>(
  items: readonly Item[],
  { base, columns }: Table<Item, Row>,
  format: ResponseFormat,
  rest: object,
): Row[] {
  let rows = items.map((item) => ({ item, row: base(item) }));
  for (const column of columns) {
    const wider = rows.map(({ item, row }) => ({ item, row: { ...row, ...column(item) } }));
    const answer = { ...rest, rows: wider.map(({ row }) => row) };
    if (format === 'detailed' || JSON.stringify(answer, null, 2).length <= MAX_CONCISE_CHARS) rows = wider;
  }
  return rows.map(({ row }) => row);
}
