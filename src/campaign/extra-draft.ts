import { type Experiment, NO_CONSENT } from '../experiment/experiment.ts';
import type { Draft } from '../experiment/journal.ts';
import { createVariant, type Variant } from '../experiment/variant.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Db } from '../store/database.ts';
import type { Extra } from './extra-facts.ts';
import type { Loop } from './loop.ts';
import { withSeed } from './seed.ts';

/**
 * Writes the order of an extra run. To a worker it is an experiment like any other: a new id, the same bytes, or those
 * with another seed, which is the one edit that is made here.
 * @param of the run that it repeats
 * @returns null where the script has no seed that can be set
 */
export async function draftExtra(
  db: Db,
  loop: Loop,
  extra: Extra,
  of: Experiment,
  seedKnob: string | null,
): Promise<Draft | null> {
  const source = await loadSource(db, of.trainHash);
  if (source === undefined) throw new TypeError(`source ${of.trainHash} is missing`);
  const variant = extra.seed === null ? repeat(of, source) : reseed(of, source, seedKnob, extra.seed);
  if (!variant) return null;
  const { settings, loopId } = loop;
  return {
    variant,
    subject: variant.variantHash,
    workerRequest: extra.worker ?? 'auto',
    quoteId: null,
    maxPriceAtomic: settings.maxPriceAtomic,
    consent: NO_CONSENT,
    idempotencyKey: `${loopId}/${extra.key}`,
    hypothesis: null,
    agent: settings.agent,
    loop: { loopId, role: extra.role, round: null, auditOf: extra.of },
  };
}

function repeat({ trainHash, variantHash, config, description }: Experiment, source: string): Variant {
  return { source, trainHash, variantHash, config, parentHash: null, description };
}

function reseed({ config }: Experiment, source: string, seedKnob: string | null, seed: number): Variant | null {
  const program = seedKnob === null ? null : withSeed({ source, config }, seedKnob, seed);
  return program && createVariant({ ...program, base: source, baseConfig: config, isWhole: true, edits: [] });
}
