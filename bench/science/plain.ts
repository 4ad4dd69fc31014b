import { type Field, ideasOf, withIdea } from './field.ts';
import type { Market, Seller } from './market.ts';
import type { Outcome, Promotion } from './outcome.ts';

/**
 * The plain rule: what scores lower than everything before is the champion from now on. It gets the same ideas in the
 * same order on the same machines, one idea a run; one that beat what it was made from, but too late, is tried again.
 * @param runs to be paid, the first of the unchanged script  @param sellers on which it keeps one run each going
 */
export function runPlain(field: Field, market: Market, sellers: readonly Seller[], runs: number): Outcome {
  const root = field.job.source;
  const promotions: Promotion[] = [];
  const late: number[] = [];
  let champion = root;
  let best = Number.POSITIVE_INFINITY;
  let started = 0;
  let newest = 0;
  const start = (seller: Seller, source: string) => {
    started += 1;
    return { seller, source, base: best, run: `plain ${started}` };
  };
  const [first] = sellers;
  if (!first) throw new RangeError('no seller');
  const going = [start(first, root)];
  for (let job = going.shift(); job; job = going.shift()) {
    const { result, isLie } = market.answer(job.seller, job.source, job.run);
    const score = result.valBpb ?? Number.POSITIVE_INFINITY;
    const idea = ideasOf(job.source).at(-1);
    if (score < best) {
      if (idea !== undefined) {
        const promotion = promote(field, job.source, champion);
        promotions.push({ ...promotion, isLie });
      }
      best = score;
      champion = job.source;
    } else if (score < job.base && idea !== undefined) late.push(idea);
    // Until the unchanged script has run there is nothing to change.
    for (const seller of idea === undefined ? sellers : [job.seller]) {
      if (started >= runs) break;
      const again = late.shift();
      if (again === undefined) newest += 1;
      going.push(start(seller, withIdea(champion, again ?? newest)));
    }
  }
  return { promotions, gain: gainOf(field, champion), runs: started };
}

/** A change of champion held against the truth. */
export function promote(field: Field, source: string, before: string): Pick<Promotion, 'isFalse'> {
  // A program that crashes has no true score: nothing is worse.
  const truth = field.truthOf(source) ?? Number.POSITIVE_INFINITY;
  return { isFalse: truth >= (field.truthOf(before) ?? Number.POSITIVE_INFINITY) };
}

/** True gain over the unchanged script, in units of effect. */
export function gainOf(field: Field, source: string): number {
  const { baseline, effect } = field.job;
  return (baseline - (field.truthOf(source) ?? Number.POSITIVE_INFINITY)) / effect;
}
