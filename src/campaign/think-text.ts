/** At most so many characters of a text. */
export function cut(text: string, maxChars: number): string {
  return text.length > maxChars ? `${text.slice(0, maxChars - 1).toWellFormed()}…` : text;
}

/** A text that ends where it says it does: no fence in it is as long as the one around it. */
export function fence(text: string, language = ''): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const ticks = '`'.repeat(longest + 1);
  return `${ticks}${language}\n${text.trimEnd()}\n${ticks}`;
}

/** A difference of scores with its sign: positive is better. */
export function formatDelta(delta: number): string {
  return `${delta < 0 ? '−' : '+'}${Math.abs(delta).toFixed(5)}`;
}
