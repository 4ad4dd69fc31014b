const SHOWN_LINES = 3;

/** What of a wanted text is missing, and which lines of the base are most like it. */
export function describeNearest(text: string, wantedText: string): string {
  const wanted = wantedText.split('\n').find((line) => line.trim() !== '') ?? '';
  const nearest = text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1, score: similarity(line.trim(), wanted.trim()) }))
    .filter(({ score }) => score > 0.3)
    .sort((a, b) => b.score - a.score || a.number - b.number)
    .slice(0, SHOWN_LINES)
    .map((hit) => `line ${hit.number}: ${JSON.stringify(hit.line.slice(0, 120))}`);
  const hint = nearest.length > 0 ? ` Nearest in the base: ${nearest.join('; ')}.` : ' Nothing in the base is like it.';
  return `${JSON.stringify(wanted.slice(0, 120))} is not in the base.${hint}`;
}

/** Share of common character pairs (Dice), 0 to 1. */
function similarity(a: string, b: string): number {
  const pairs = (text: string) => {
    const counts = new Map<string, number>();
    for (let index = 0; index < text.length - 1; index += 1) {
      const pair = text.slice(index, index + 2);
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
    return counts;
  };
  const left = pairs(a.slice(0, 300));
  const right = pairs(b.slice(0, 300));
  let common = 0;
  for (const [pair, count] of left) common += Math.min(count, right.get(pair) ?? 0);
  const total = Math.max(a.length - 1, 0) + Math.max(b.length - 1, 0);
  return total === 0 ? 0 : (2 * common) / total;
}
