import { expect, it } from 'vitest';
import { scoredRun } from '../../test/scored-run.ts';
import { pickSeed } from './extra-facts.ts';

it('gives every run of an idea a seed of its own, those of the champion first', () => {
  const run = scoredRun({ family: 'idea', seed: '42' });
  const champion = ['42', '7', '7', '9'].map((seed) => scoredRun({ seed }));
  expect([0, 1, 2, 3].map((underWay) => pickSeed(run, [run], champion, underWay))).toEqual([7, 9, 43, 44]);
  const again = scoredRun({ family: 'idea', seed: '43' });
  expect([0, 1].map((underWay) => pickSeed(run, [run, again], [], underWay))).toEqual([44, 45]);
  expect(pickSeed(scoredRun({ seed: null }), [], champion)).toBeNull();
});
