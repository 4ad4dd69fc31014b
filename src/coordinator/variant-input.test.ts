import { describe, expect, it } from 'vitest';
import { openStore } from '../../test/store-seed.ts';
import { NotFoundError } from '../base/errors.ts';
import type { JsonObject } from '../base/json.ts';
import { atomicUsdc } from '../base/money.ts';
import { NO_CONSENT } from '../experiment/experiment.ts';
import { draftExperiment } from '../experiment/journal.ts';
import { createVariant } from '../experiment/variant.ts';
import { resolveVariant } from './variant-input.ts';

const NOW = 1_790_000_000_000;
const SOURCE = `import json, os
DEPTH = 8
RATE = 0.5
path = os.environ.get("AUTORESEARCH_EXPERIMENT_CONFIG")
for name, value in (json.load(open(path)) if path else {}).items():
    assert name in globals() and name.isupper()
    globals()[name] = value
print(f"val_bpb: {DEPTH * RATE}")
`;

/** A store in which the script ran with a config; and what is made of it. */
async function openWith(config: JsonObject, source = SOURCE) {
  const db = await openStore();
  const variant = createVariant({ source, base: null, edits: [], config });
  const draft = { variant, subject: variant.variantHash, workerRequest: 'auto', quoteId: null, consent: NO_CONSENT };
  const nobody = { idempotencyKey: null, hypothesis: null, agent: null, loop: null };
  const { experiment } = await draftExperiment(db, { ...draft, ...nobody, maxPriceAtomic: atomicUsdc(1) }, NOW);
  const named = { champion: experiment.experimentId, baseline: experiment.rootHash };
  const resolve = (base: string, edit: readonly [string, string] | null, given?: JsonObject) => {
    const edits = edit ? [{ search: edit[0], replace: edit[1] }] : [];
    return resolveVariant(db, { base, edits, config: given }, named);
  };
  return { experiment, resolve };
}

describe('a variant of a base that has a config', () => {
  it('inherits the config, since source and config together are what scored', async () => {
    const { experiment, resolve } = await openWith({ RATE: 0.1 });
    for (const base of ['champion', experiment.experimentId]) {
      const variant = await resolve(base, ['DEPTH = 8', 'DEPTH = 9']);
      expect(variant).toMatchObject({ config: { RATE: 0.1 }, parentConfig: { RATE: 0.1 }, description: 'DEPTH 8 → 9' });
    }
  });

  it('puts the values that are given over it', async () => {
    const { resolve } = await openWith({ RATE: 0.1, DEPTH: 4 });
    const variant = await resolve('champion', null, { RATE: 0.2, WIDTH: 3 });
    expect(variant.config).toEqual({ DEPTH: 4, RATE: 0.2, WIDTH: 3 });
    expect(variant.description).toBe('RATE 0.1 → 0.2, WIDTH := 3');
  });

  it('lets an edit of a constant win over the value that would hide it', async () => {
    const { resolve } = await openWith({ RATE: 0.1, DEPTH: 4 });
    const variant = await resolve('champion', ['RATE = 0.5', 'RATE = 0.25']);
    expect(variant.config).toEqual({ DEPTH: 4 });
    expect(variant.description).toBe('RATE 0.5 → 0.25, RATE 0.1 → as in the source');
    expect((await resolve('champion', ['RATE = 0.5', 'RATE = 0.50'])).config).toEqual({ RATE: 0.1, DEPTH: 4 });
    expect((await resolve('champion', ['RATE = 0.5', 'RATE = 0.25'], { RATE: 1 })).config).toEqual({
      DEPTH: 4,
      RATE: 1,
    });
  });

  it('lets an edit win where the constant is no plain literal, too', async () => {
    const { resolve } = await openWith(
      { STEPS: 9, RATE: 0.1 },
      'STEPS = int(8)  # of training\nRATE = 0.5\nprint("val_bpb:", STEPS)\n',
    );
    expect((await resolve('champion', ['int(8)', 'int(12)'])).config).toEqual({ RATE: 0.1 });
    expect((await resolve('champion', ['of training', 'or so'])).config).toEqual({ STEPS: 9, RATE: 0.1 });
  });

  it('inherits nothing from a source that is named by its hash', async () => {
    const { experiment, resolve } = await openWith({ RATE: 0.1 });
    for (const base of ['baseline', experiment.trainHash]) {
      const variant = await resolve(base, ['DEPTH = 8', 'DEPTH = 9']);
      expect(variant.config).toEqual({});
      expect(variant.parentConfig).toBeUndefined();
    }
    await expect(resolve('exp-20260101-0123456789abcdef', null)).rejects.toThrow(NotFoundError);
  });
});
