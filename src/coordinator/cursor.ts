import { InputError } from '../base/errors.ts';

/** Reads the position that `next_cursor` of an earlier answer names. @throws InputError `bad_cursor` */
export function parseCursor(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (/^\d{1,9}$/.test(cursor)) return Number(cursor);
  throw new InputError(
    'bad_cursor',
    `${JSON.stringify(cursor.slice(0, 40))} is no cursor of an earlier answer.`,
    'Call again without cursor.',
  );
}
