import { readFileSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { InputError, NotFoundError } from '../base/errors.ts';
import { isSha256 } from '../base/hash.ts';
import type { JsonObject } from '../base/json.ts';
import type { Edit } from '../experiment/edits.ts';
import { loadExperiment } from '../experiment/experiment.ts';
import { createVariant, MAX_SOURCE_BYTES, type Variant } from '../experiment/variant.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Db } from '../store/database.ts';

/** How a caller names a program: one of the first three, a base with edits. */
export interface VariantInput {
  readonly train_py?: string | undefined;
  readonly train_path?: string | undefined;
  readonly base?: string | undefined;
  readonly edits?: readonly Edit[] | undefined;
  readonly config?: JsonObject | undefined;
}

/** Experiments that the words `champion` and `baseline` stand for, where they mean something. */
export interface NamedBases {
  readonly champion: string | null;
  readonly baseline: string | null;
}

/**
 * Makes the variant that a caller asks for.
 * @throws InputError, NotFoundError; nothing is written
 */
export async function resolveVariant(db: Db, input: VariantInput, named: NamedBases): Promise<Variant> {
  const given = [input.train_py, input.train_path, input.base].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw new InputError(
      'bad_variant',
      `Give exactly one of train_py, train_path and base; ${given.length} were given. Nothing was submitted.`,
      'Send the whole source as train_py, a file as train_path, or a base with edits.',
    );
  }
  const config = input.config ?? {};
  const edits = input.edits ?? [];
  if (input.base !== undefined) {
    const { source, config: baseConfig } = await loadBase(db, input.base, named);
    return createVariant({ source, base: source, baseConfig, edits, config });
  }
  const source = input.train_py ?? readTrainFile(input.train_path ?? '', process.cwd());
  return createVariant({ source, base: await findParent(db, source), edits, config });
}

/**
 * Loads the program that a caller names as a base; a source that is named by its hash has no config.
 * @throws NotFoundError
 */
export async function loadBase(
  db: Db,
  base: string,
  named: NamedBases,
): Promise<{ source: string; config: JsonObject }> {
  const word = base === 'champion' ? named.champion : base === 'baseline' ? named.baseline : null;
  const wanted = word ?? base;
  const program = isSha256(wanted) ? { trainHash: wanted, config: {} } : await loadExperiment(db, wanted);
  const source = program && (await loadSource(db, program.trainHash));
  if (source !== undefined && source !== '') return { source, config: program?.config ?? {} };
  throw new NotFoundError(
    'base',
    base,
    'Name an experiment id, a train_hash (sha256:…), "champion" or "baseline" of something that ran here before. Nothing was submitted.',
  );
}

/**
 * Reads a script from a file below a folder.
 * @throws InputError when the file is elsewhere, too large or unreadable
 */
export function readTrainFile(path: string, root: string): string {
  const shown = JSON.stringify(path.slice(0, 200));
  const refuse = (problem: string): never => {
    throw new InputError(
      'bad_train_path',
      `${shown} ${problem}. Nothing was submitted.`,
      `Name a readable Python file below ${root}, or send its text as train_py.`,
    );
  };
  let real = '';
  try {
    real = realpathSync(resolve(root, path));
  } catch {
    return refuse('does not exist');
  }
  const inside = relative(realpathSync(root), real);
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside))
    return refuse('lies outside the working directory');
  return readSource(real, refuse);
}

function readSource(file: string, refuse: (problem: string) => never): string {
  const info = statSync(file);
  if (!info.isFile()) return refuse('is not a file');
  if (info.size > MAX_SOURCE_BYTES) return refuse(`has ${info.size} bytes, at most ${MAX_SOURCE_BYTES} are sent`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
  } catch {
    return refuse('is not UTF-8 text');
  }
}

/** How many runs, and sources of them, are looked at for a parent, newest first. */
const PARENT_RUNS = 1_000;
const PARENT_CANDIDATES = 20;
/** Share of lines that a variant has in common with its parent at least. */
const PARENT_SHARE = 0.6;

/** The earlier source that a whole source was evidently made from; null for a new one. */
async function findParent(db: Db, source: string): Promise<string | null> {
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('experiments')
        .select(['train_hash', 'created_at'])
        .orderBy('created_at', 'desc')
        .limit(PARENT_RUNS)
        .as('newest'),
    )
    .innerJoin('sources', 'sources.train_hash', 'newest.train_hash')
    .select(['sources.source', (eb) => eb.fn.max('newest.created_at').as('at')])
    .groupBy('sources.train_hash')
    .orderBy('at', 'desc')
    .limit(PARENT_CANDIDATES)
    .execute();
  const lines = new Set(significantLines(source));
  const ranked = rows
    .filter((row) => row.source !== source)
    .map((row) => ({ source: row.source, share: shareOf(lines, significantLines(row.source)) }))
    .sort((a, b) => b.share - a.share);
  const best = ranked[0];
  const isKnown = rows.some((row) => row.source === source);
  return !isKnown && best && best.share >= PARENT_SHARE ? best.source : null;
}

function significantLines(source: string): string[] {
  return source
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.length > 3);
}

function shareOf(lines: ReadonlySet<string>, other: readonly string[]): number {
  const common = other.filter((line) => lines.has(line)).length;
  return common / Math.max(lines.size, other.length, 1);
}
