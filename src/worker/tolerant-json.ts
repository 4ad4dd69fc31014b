/** A string, closed or not, or a bare word: one that is not closed ends the text, so that nothing is scanned twice. */
const STRING_OR_WORD = /"(?:[^"\\]|\\[\s\S])*"?|-?\b(?:NaN|Infinity)\b/g;

/**
 * Parses JSON as workers send it: a paid answer may hold bare `NaN` and `Infinity`, which are not JSON. They are read
 * as null, outside strings only, and only when the text does not parse as it is (worker-api.md section 10).
 * @returns undefined when it cannot be read either way
 */
export function parseTolerantJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    try {
      return JSON.parse(text.replace(STRING_OR_WORD, (token) => (token.startsWith('"') ? token : 'null')));
    } catch {
      return undefined;
    }
  }
}
