const BARS = '▁▂▃▄▅▆▇█';

/** Scores in the order of their runs as one line of bars; the lowest bar is the best (lowest) score. */
export function renderSparkline(scores: readonly number[]): string {
  const finite = scores.filter(Number.isFinite);
  if (finite.length === 0) return '';
  const low = Math.min(...finite);
  const span = Math.max(...finite) - low;
  return finite.map((score) => BARS[span === 0 ? 0 : Math.round(((score - low) / span) * (BARS.length - 1))]).join('');
}
