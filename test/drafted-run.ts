// What tests of choosing a worker share.
import { atomicUsdc } from '../src/base/money.ts';
import { type Experiment, NO_CONSENT } from '../src/experiment/experiment.ts';
import { draftExperiment } from '../src/experiment/journal.ts';
import { createVariant } from '../src/experiment/variant.ts';
import { openStore } from './store-seed.ts';

/** One experiment from the journal that wants any worker. */
export async function draftOne(maxPriceAtomic: number, nowMs: number): Promise<Experiment> {
  const variant = createVariant({ source: 'print("val_bpb: 1.0")\n', base: null, edits: [], config: {} });
  const asked = { subject: variant.variantHash, workerRequest: 'auto', quoteId: null, idempotencyKey: null };
  const draft = { variant, ...asked, consent: NO_CONSENT, hypothesis: null, agent: null, loop: null };
  const db = await openStore();
  return (await draftExperiment(db, { ...draft, maxPriceAtomic: atomicUsdc(maxPriceAtomic) }, nowMs)).experiment;
}
