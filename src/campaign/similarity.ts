/** Characters per piece of a text: short enough for names that differ by a letter, long enough to carry order. */
const PIECE_CHARS = 3;

/** How often each run of three characters occurs in a text. */
export type Profile = ReadonlyMap<string, number>;

/** The profile of a text; white space counts once. */
export function buildProfile(text: string): Profile {
  const plain = text.replace(/\s+/g, ' ').trim();
  const counts = new Map<string, number>();
  for (let at = 0; at + PIECE_CHARS <= plain.length; at += 1) {
    const piece = plain.slice(at, at + PIECE_CHARS);
    counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return counts;
}

/** Cosine of two profiles: 0 for nothing in common, 1 for the same. */
export function compareProfiles(left: Profile, right: Profile): number {
  let product = 0;
  for (const [piece, count] of left) product += count * (right.get(piece) ?? 0);
  const size = length(left) * length(right);
  // Rounding must not make two equal texts less, or more, than equal.
  return size === 0 ? 0 : Math.min(1, product / size);
}

function length(profile: Profile): number {
  let squares = 0;
  for (const count of profile.values()) squares += count * count;
  return Math.sqrt(squares);
}
