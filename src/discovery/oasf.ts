/** A skill as a registration claims it; `name` and `id` may each be missing. */
export interface SkillClaim {
  readonly name: string | null;
  readonly id: number | null;
  /** OASF version of the entry that holds the skill, as written. */
  readonly version: string | null;
}

/** The skill that discovery looks for, and the text that 8004scan is searched for. */
export const DEFAULT_SKILL = 'devops_mlops/model_versioning';
const SKILL_SINCE_1_1 = 'ai_ml_engineering/ml_lifecycle/model_versioning';

/**
 * The paths that mean the skill of an autoresearch worker: OASF 0.8 to 1.0, OASF since 1.1, and the path of Obol's
 * older workers, which is in no OASF release (8004scan.md section 9).
 */
export const SKILL_ALIASES: readonly string[] = [DEFAULT_SKILL, SKILL_SINCE_1_1, 'machine_learning/model_optimization'];

/** Number ids of the same skill. 1204 means human resources since 1.1, so a number alone proves nothing. */
const ID_BEFORE_1_1 = 1204;
const ID_SINCE_1_1 = 71402;

/**
 * Finds the first claim that stands for the wanted skill.
 * @param skill any path; absent or one of `SKILL_ALIASES`: the whole set of aliases matches
 * @returns the matching path in its canonical spelling (for a number id the path that it stands for), or null
 */
export function findMatchingSkill(claims: readonly SkillClaim[], skill?: string): string | null {
  const wanted = skill === undefined ? DEFAULT_SKILL : normalizeSkill(skill);
  const isDefault = SKILL_ALIASES.includes(wanted);
  for (const claim of claims) {
    const path = claim.name === null ? null : normalizeSkill(claim.name);
    if (path !== null && (isDefault ? SKILL_ALIASES.includes(path) : path === wanted)) return path;
    const standsFor = isDefault ? resolveNumberId(claim) : null;
    if (standsFor !== null) return standsFor;
  }
  return null;
}

/** The paths that mean the same as a skill; absent: the default one. */
export function listAliases(skill?: string): readonly string[] {
  const wanted = skill === undefined ? DEFAULT_SKILL : normalizeSkill(skill);
  return SKILL_ALIASES.includes(wanted) ? SKILL_ALIASES : [wanted];
}

/** What stands in the JSON of every claim that `findMatchingSkill` could find: the paths, and the number ids. */
export function listSkillTerms(skill?: string): readonly (string | number)[] {
  const aliases = listAliases(skill);
  return aliases === SKILL_ALIASES ? [...aliases, ID_BEFORE_1_1, ID_SINCE_1_1] : aliases;
}

/** One spelling of a skill path: lower case, without surrounding slashes and spaces. */
export function normalizeSkill(text: string): string {
  return text
    .slice(0, 500)
    .toLowerCase()
    .split('/')
    .map((segment) => segment.trim())
    .filter((segment) => segment !== '')
    .join('/');
}

function resolveNumberId({ id, name, version }: SkillClaim): string | null {
  const isSince = isSince1_1(version);
  if (isSince === null) return null;
  if (id === ID_SINCE_1_1 && isSince) return SKILL_SINCE_1_1;
  return id === ID_BEFORE_1_1 && !isSince && name === null ? DEFAULT_SKILL : null;
}

/** Whether `v0.8.0`, `1.1` and the like are at least 1.1; null when the version is missing or unreadable. */
function isSince1_1(version: string | null): boolean | null {
  const match = /^\s*v?(\d{1,4})(?:\.(\d{1,4}))?/i.exec(version ?? '');
  if (!match) return null;
  const major = Number(match[1]);
  return major > 1 || (major === 1 && Number(match[2] ?? 0) >= 1);
}
