import { type Claim, findClaim } from '../experiment/claims.ts';
import { type Experiment, loadExperiment, parseExperiment } from '../experiment/experiment.ts';
import type { Changes, KnobChange } from '../experiment/script/changes.ts';
import type { Variant } from '../experiment/variant.ts';
import { effectiveHashOf, loadChanges, loadVariantForms } from '../experiment/variant-form.ts';
import type { Db } from '../store/database.ts';
import { buildProfile, compareProfiles } from './similarity.ts';

/** An earlier experiment, or a place in a queue, with the same effective variant. */
export interface Duplicate {
  readonly experiment: Experiment | null;
  /** Set while it waits in the queue of a loop. */
  readonly claim: Claim | null;
}

/** Finds what already runs the same program with the same values: among claims, queues and results that count. */
export async function findDuplicate(db: Db, variant: Variant, nowMs: number): Promise<Duplicate | null> {
  const effectiveHash = effectiveHashOf(variant);
  const claim = await findClaim(db, effectiveHash, nowMs);
  if (claim && claim.experimentId === null) return { experiment: null, claim };
  const claimed = claim?.experimentId == null ? undefined : await loadExperiment(db, claim.experimentId);
  if (claimed && claimed.finishedAtMs === null) return { experiment: claimed, claim: null };
  const same = await db
    .selectFrom('variants')
    .select('variant_hash')
    .where('effective_hash', '=', effectiveHash)
    .execute();
  const row = await db
    .selectFrom('experiments')
    .selectAll()
    .where('variant_hash', 'in', [variant.variantHash, ...same.map(({ variant_hash }) => variant_hash)])
    // What nobody ran, or what a worker made up, answers nothing.
    .where('experiments.state', 'not in', ['refused', 'cancelled', 'unpaid', 'lost'])
    .where((eb) => eb.or([eb('verdict', 'is', null), eb('verdict', 'not in', ['INVALID', 'SUSPECT'])]))
    .orderBy((eb) => eb('val_bpb', 'is', null))
    .orderBy('created_at', 'desc')
    .executeTakeFirst();
  return row ? { experiment: parseExperiment(row), claim: null } : null;
}

/** What an earlier experiment gave, as part of a sentence. */
export function describeOutcome({ experiment, claim }: Duplicate): string {
  if (!experiment) return `waits in the queue of ${claim?.loopId ?? 'a loop'}`;
  const { experimentId, valBpb, judgement, state } = experiment;
  if (valBpb !== null) return `gave val_bpb ${valBpb} (${judgement?.verdict ?? state}) as ${experimentId}`;
  return state === 'failed' ? `failed as ${experimentId}` : `is ${state} as ${experimentId}`;
}

/** An earlier experiment that is much like a new one. */
export interface Similar {
  readonly experiment: Experiment;
  readonly because: string;
}

/** Texts from here on are nearly the same (field.md section 2). */
const NEAR = 0.92;
/** How far back is looked, in variants, and in variants whose lines are compared. */
const MAX_FORMS = 3_000;
const MAX_COMPARED = 500;
const MAX_SIMILAR = 3;

/** Finds earlier variants of a lineage that move the same knobs the same way or change nearly the same lines. */
export async function findSimilar(db: Db, variant: Variant, rootHash: string): Promise<Similar[]> {
  const changes = await loadChanges(db, variant);
  if (changes.knobs.length === 0 && changes.lines === '') return [];
  const forms = await loadVariantForms(db, rootHash, MAX_FORMS);
  const profile = buildProfile(changes.lines);
  const near: { variantHash: string; because: string }[] = [];
  let compared = 0;
  for (const form of forms) {
    if (form.variantHash === variant.variantHash) continue;
    const because = compareKnobs(changes, form.changes) ?? compareLines(form.changes);
    if (because !== null) near.push({ variantHash: form.variantHash, because });
    if (near.length >= MAX_SIMILAR) break;
  }
  const found = await Promise.all(
    near.map(async ({ variantHash, because }) => {
      const experiment = await findBest(db, variantHash);
      return experiment ? [{ experiment, because }] : [];
    }),
  );
  return found.flat();

  function compareLines({ lines }: Changes): string | null {
    const isComparable =
      lines !== '' && lines.length < 2 * changes.lines.length && changes.lines.length < 2 * lines.length;
    if (!isComparable || compared >= MAX_COMPARED) return null;
    compared += 1;
    const likeness = compareProfiles(profile, buildProfile(lines));
    return likeness >= NEAR ? `its changed lines are ${Math.floor(likeness * 100)} % the same` : null;
  }
}

/** The same knobs in the same direction, and no other lines. */
function compareKnobs(now: Changes, before: Changes): string | null {
  if (now.lines !== '' || before.lines !== '' || now.knobs.length !== before.knobs.length) return null;
  const key = ({ name, direction, to }: KnobChange) => `${name} ${direction === 'other' ? to : direction}`;
  const earlier = new Set(before.knobs.map(key));
  if (!now.knobs.every((knob) => earlier.has(key(knob)))) return null;
  const moves = now.knobs.map(({ name, direction }) => (direction === 'other' ? name : `${name} ${direction}`));
  return `the same knob${moves.length === 1 ? '' : 's'} in the same direction (${moves.join(', ')})`;
}

async function findBest(db: Db, variantHash: string): Promise<Experiment | undefined> {
  const row = await db
    .selectFrom('experiments')
    .selectAll()
    .where('variant_hash', '=', variantHash)
    .orderBy((eb) => eb('val_bpb', 'is', null))
    .orderBy('created_at', 'desc')
    .executeTakeFirst();
  return row && parseExperiment(row);
}
