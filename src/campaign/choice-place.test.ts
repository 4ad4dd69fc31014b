import { describe, expect, it } from 'vitest';
import { scoredRun } from '../../test/scored-run.ts';
import { sha256 } from '../base/hash.ts';
import type { Role } from '../experiment/experiment.ts';
import { findPlace, type PlaceFacts } from './choice-place.ts';
import type { ScoredRun } from './evidence.ts';

const [A, B, C] = ['https://a.example', 'https://b.example', 'https://c.example'];
const ROOT = sha256('root');
const IDEA = sha256('idea');
const RESEEDED = sha256('idea with another seed');
const OWNER = '0x00000000000000000000000000000000000000aa';

/** A round's run of the idea by A on a small machine; a test says what is different. */
function buildScored(change: Partial<ScoredRun> = {}): ScoredRun {
  return scoredRun({
    experimentId: 'first',
    rootHash: ROOT,
    trainHash: IDEA,
    variantHash: IDEA,
    family: 'idea',
    seed: null,
    tier: 'small',
    role: 'round',
    verdict: 'RETEST',
    valBpb: 1.9,
    endpoint: A,
    ...change,
  });
}

const REFERENCE = buildScored({
  experimentId: 'baseline',
  family: 'root',
  trainHash: ROOT,
  variantHash: ROOT,
  role: 'baseline',
  tier: 'large',
  endpoint: C,
});
const CHAMPION = {
  experimentId: 'baseline',
  trainHash: ROOT,
  variantHash: ROOT,
  family: 'root',
  valBpb: 2,
  runs: 1,
  sourceLines: 10,
  verified: false,
  evidence: [REFERENCE],
};
const FACTS: PlaceFacts = { runs: [REFERENCE, buildScored()], champion: CHAMPION, owners: new Map(), prefer: null };

/** Where a run of this role belongs that repeats the idea, or is something new. */
const placeOf = (role: Role, variantHash = IDEA, facts: Partial<PlaceFacts> = {}) =>
  findPlace(
    { role, variantHash, auditOf: role === 'round' || role === 'baseline' || role === 'single' ? null : 'first' },
    { ...FACTS, ...facts },
  );

const partiesOf = (...args: Parameters<typeof placeOf>) => placeOf(...args).parties.map(({ endpoint }) => endpoint);

describe('a run that is to be compared', () => {
  it.each<[Role, boolean]>([
    ['single', false],
    ['baseline', false],
    ['round', false],
    ['canary', false],
    ['retest', true],
    ['confirmation', true],
    ['audit', true],
  ])('is not every one: %s, %s', (role, isComparison) => {
    expect(placeOf(role).isComparison).toBe(isComparison);
  });

  it('belongs where the run is that it repeats; asked again, where the champion is', () => {
    expect(placeOf('audit').wantedTier).toBe('small');
    expect(placeOf('confirmation', RESEEDED).wantedTier).toBe('small');
    expect(placeOf('retest', RESEEDED).wantedTier).toBe('large');
    expect(placeOf('round', RESEEDED).wantedTier).toBe('large');
    const met = { ...CHAMPION, evidence: [REFERENCE, { ...REFERENCE, tier: 'small', endpoint: B }] };
    expect(placeOf('retest', RESEEDED, { champion: met }).wantedTier).toBe('small');
    expect(placeOf('round', RESEEDED, { champion: null }).wantedTier).toBeNull();
  });
});

describe('who may not run it', () => {
  const again = buildScored({ experimentId: 'again', variantHash: RESEEDED, endpoint: B, payTo: '0x1' });
  const facts = { runs: [REFERENCE, buildScored(), again], owners: new Map([[A, OWNER]]) };

  it('is, for an audit, who ran that program; for a confirmation, who ran the idea with any seed', () => {
    expect(placeOf('audit', IDEA, facts).parties).toEqual([{ endpoint: A, payTo: null, owner: OWNER }]);
    expect(placeOf('confirmation', IDEA, facts).parties).toEqual([
      { endpoint: A, payTo: null, owner: OWNER },
      { endpoint: B, payTo: '0x1', owner: null },
    ]);
  });

  it('is who ran that program where it is asked for again as it was, but not with another seed', () => {
    expect(partiesOf('retest', IDEA, facts)).toEqual([A]);
    expect(partiesOf('retest', RESEEDED, facts)).toEqual([]);
    // Further runs of the champion say nothing about who ran it first.
    expect(partiesOf('retest', IDEA, { ...facts, champion: { ...CHAMPION, family: 'idea' } })).toEqual([]);
  });

  it.each<Role>(['single', 'baseline', 'round', 'canary'])('is nobody for a run of role %s', (role) => {
    expect(partiesOf(role, IDEA, facts)).toEqual([]);
  });
});

it('asks a score too close to call for again where the champion ran, unless both are of one worker', () => {
  expect(placeOf('retest', RESEEDED, { prefer: B }).preferred).toBe(C);
  expect(placeOf('round', RESEEDED, { prefer: B }).preferred).toBe(B);
  expect(placeOf('audit', IDEA, { prefer: B }).preferred).toBe(B);
  const own = { ...CHAMPION, evidence: [{ ...REFERENCE, endpoint: A }] };
  expect(placeOf('retest', RESEEDED, { champion: own }).preferred).toBeNull();
});
