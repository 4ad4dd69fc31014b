import * as z from 'zod';
import type { Sha256 } from '../base/hash.ts';
import { readJson } from '../base/json.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Db, Trx } from '../store/database.ts';
import { findChanges, KnobChange } from './script/changes.ts';
import { buildEffectiveForm } from './script/normal-form.ts';
import type { Variant } from './variant.ts';

/** What a variant runs, whatever its spelling. */
export function effectiveHashOf({ source, config }: Pick<Variant, 'source' | 'config'>): Sha256 {
  return buildEffectiveForm(source, config).effectiveHash;
}

/** How a variant differs from its parent. */
export async function loadChanges(db: Db | Trx, { source, config, parentHash, parentConfig = {} }: Variant) {
  const parent = parentHash === null ? undefined : await loadSource(db, parentHash);
  return findChanges(parent === undefined ? null : { source: parent, config: parentConfig }, { source, config });
}

/** The first source of a variant's lineage: that of the same source before, of its parent, or itself. */
export async function findRoot(db: Db | Trx, { trainHash, parentHash }: Variant): Promise<string> {
  const relatives = parentHash === null ? [trainHash] : [trainHash, parentHash];
  const relative = await db
    .selectFrom('experiments')
    .select('root_hash')
    .where('train_hash', 'in', relatives)
    .orderBy('created_at')
    .executeTakeFirst();
  return relative?.root_hash ?? parentHash ?? trainHash;
}

/** Keeps what later variants are compared with, once. @returns the effective hash */
export async function saveVariantForm(
  trx: Trx,
  variant: Variant,
  rootHash: string,
  warnings: readonly string[],
  nowMs: number,
): Promise<string> {
  const known = await trx
    .selectFrom('variants')
    .select('effective_hash')
    .where('variant_hash', '=', variant.variantHash)
    .executeTakeFirst();
  if (known) return known.effective_hash;
  const effectiveHash = effectiveHashOf(variant);
  const { knobs, lines } = await loadChanges(trx, variant);
  await trx
    .insertInto('variants')
    .values({
      variant_hash: variant.variantHash,
      effective_hash: effectiveHash,
      root_hash: rootHash,
      description: variant.description,
      knobs: JSON.stringify(knobs),
      lines,
      warnings: JSON.stringify(warnings),
      created_at: nowMs,
    })
    .execute();
  return effectiveHash;
}

/** What the gate had to say about a variant that ran all the same. */
export async function loadWarnings(db: Db, variantHash: string): Promise<string[]> {
  const row = await db
    .selectFrom('variants')
    .select('warnings')
    .where('variant_hash', '=', variantHash)
    .executeTakeFirst();
  return row ? readJson(z.array(z.string()), row.warnings) : [];
}

const Knobs = z.array(KnobChange);

/** Variants of a lineage with how they differ from their parents, newest first. */
export async function loadVariantForms(db: Db, rootHash: string, limit: number) {
  const rows = await db
    .selectFrom('variants')
    .select(['variant_hash', 'description', 'knobs', 'lines'])
    .where('root_hash', '=', rootHash)
    .orderBy('created_at', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    variantHash: row.variant_hash,
    description: row.description,
    changes: { knobs: readJson(Knobs, row.knobs), lines: row.lines },
  }));
}
