// What tests of judging share: a scored run, of which each says what matters to it.
import { ANY_TIER, type ScoredRun } from '../src/campaign/evidence.ts';

/** A run of program `base` outside loops that scored 1 on worker A; nobody was paid. */
export function scoredRun(change: Partial<ScoredRun> = {}): ScoredRun {
  return {
    experimentId: 'exp-1',
    loopId: null,
    rootHash: 'root',
    trainHash: 'base',
    variantHash: 'base',
    parentVariantHash: null,
    family: 'base',
    seed: '42',
    tier: ANY_TIER,
    dataHash: null,
    steps: null,
    lines: 200,
    role: 'single',
    auditOf: null,
    verdict: 'DISCARD',
    valBpb: 1,
    endpoint: 'https://a.example',
    payTo: null,
    createdAtMs: 0,
    updatedAtMs: 0,
    ...change,
  };
}
