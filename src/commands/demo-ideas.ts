/** One proposal of the demo's agent. */
export interface Idea {
  readonly hypothesis: string;
  readonly edits: { search: string; replace: string }[];
}

/** What the agent knows about byte n-gram models, best guesses first: knob, new value, reason. */
const IDEAS: readonly (readonly [changes: Readonly<Record<string, string>>, reason: string])[] = [
  [{ CACHE_WEIGHT: '0.05' }, 'a cache of recent bytes adapts to the text at hand'],
  [{ MAX_ORDER: '5' }, 'a longer context predicts better if the counts are not too thin'],
  [{ UNIFORM_MIX: '0.1' }, 'more weight on the uniform distribution covers unseen bytes'],
  [{ MAX_ORDER: '5', DISCOUNT: '0.85' }, 'with a larger discount thin counts of a longer context hurt less'],
  [{ DISCOUNT_GROWTH: '0.03' }, 'longer contexts are seen less often and deserve a larger discount'],
  [{ CACHE_BYTES: '1000' }, 'a shorter cache follows the text faster'],
  [{ MIN_COUNT: '2' }, 'contexts seen once are noise'],
  [{ DISCOUNT: '0.8' }, 'a slightly larger discount smooths more'],
];

/**
 * Designs the next proposals from THINK, as a model would: it reads the champion's knob lines there, takes the ideas
 * that were not tried, and writes them as edits.
 * @param think text of the prompt  @param tried descriptions of earlier runs
 */
export function planWave(think: string, size: number, tried: readonly string[]): Idea[] {
  const lines = new Map(
    [...think.matchAll(/^ {4}(([A-Z][A-Z0-9_]+) *=.*)$/gm)].map(([, line = '', name = '']) => [name, line]),
  );
  const wave: Idea[] = [];
  for (const [changes, reason] of IDEAS) {
    const knobs = Object.entries(changes);
    const edits = knobs.flatMap(([name, value]) => {
      const line = lines.get(name);
      const next = line?.replace(/=\s*[^#\s]+/, `= ${value}`);
      return line !== undefined && next !== undefined && next !== line ? [{ search: line, replace: next }] : [];
    });
    const isTried = tried.some((description) =>
      knobs.every(([name, value]) => description.includes(`${name} `) && description.includes(`→ ${value}`)),
    );
    if (edits.length === 0 || isTried) continue;
    wave.push({ hypothesis: `${knobs.map(([name, value]) => `${name} = ${value}`).join(', ')}: ${reason}`, edits });
    if (wave.length === size) break;
  }
  return wave;
}
