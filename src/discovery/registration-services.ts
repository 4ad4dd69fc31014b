import type { SkillClaim } from './oasf.ts';
import { isRecord, type JsonRecord, listFields, readField, readText, readTokenId } from './tolerant.ts';

/** One service of a registration document. */
export interface Service {
  /** Lower case, such as `web`, `oasf`, `a2a`; empty when missing. A stranger's text: only ever compared. */
  readonly name: string;
  /** As written; it may be no address at all. */
  readonly endpoint: string | null;
}

export interface ServiceList {
  readonly services: readonly Service[];
  readonly skills: readonly SkillClaim[];
}

/** A hostile document may hold a million entries; honest ones hold a handful. */
const MAX_SERVICES = 100;
const MAX_SKILLS = 500;
/** Skills nested deeper than this are ignored (8004scan.md section 8). */
const MAX_SKILL_DEPTH = 4;

interface Entry {
  readonly name: string;
  readonly body: JsonRecord;
}

/**
 * Reads services and OASF skills in all their spellings: `services` and `endpoints` as lists or as objects keyed by
 * protocol, skills in the OASF entry, at the top level or below a top-level `oasf`.
 */
export function parseServices(document: JsonRecord): ServiceList {
  const first = listEntries(readField(document, 'services'));
  const names = new Set(first.map((entry) => entry.name));
  // Where both lists name a protocol, the first wins: `endpoints` is the older spelling.
  const second = listEntries(readField(document, 'endpoints')).filter((entry) => !names.has(entry.name));
  const entries = [...first, ...second].slice(0, MAX_SERVICES);
  const services = entries.map(({ name, body }) => ({
    name,
    endpoint: readText(body.endpoint) ?? readText(body.url) ?? readText(body.uri),
  }));
  const skills: SkillClaim[] = [];
  for (const { body } of entries.filter((entry) => entry.name === 'oasf')) {
    collectSkills(body.skills, readText(body.version), 1, skills);
  }
  collectSkills(readField(document, 'skills'), null, 1, skills);
  const oasf = readField(document, 'oasf');
  if (isRecord(oasf)) collectSkills(oasf.skills, readText(oasf.version), 1, skills);
  else collectSkills(oasf, null, 1, skills);
  return { services, skills };
}

function listEntries(value: unknown): Entry[] {
  if (Array.isArray(value)) {
    return value
      .slice(0, MAX_SERVICES)
      .filter(isRecord)
      .map((body) => ({ name: readName(body.name), body }));
  }
  if (!isRecord(value)) return [];
  return listFields(value, MAX_SERVICES).flatMap(([key, body]) => {
    if (typeof body === 'string') return [{ name: readName(key), body: { endpoint: body } }];
    return isRecord(body) ? [{ name: readName(key), body }] : [];
  });
}

function readName(value: unknown): string {
  return (readText(value) ?? '').slice(0, 80).toLowerCase();
}

function collectSkills(value: unknown, version: string | null, depth: number, into: SkillClaim[]): void {
  if (depth > MAX_SKILL_DEPTH || into.length >= MAX_SKILLS) return;
  if (Array.isArray(value)) {
    for (const item of value.slice(0, MAX_SKILLS)) collectSkills(item, version, depth + 1, into);
    return;
  }
  if (typeof value === 'string' || typeof value === 'number') addClaim(value, undefined, version, into);
  else if (isRecord(value)) addClaim(value.name, value.id, version, into);
}

function addClaim(nameOrId: unknown, id: unknown, version: string | null, into: SkillClaim[]): void {
  const text = readText(nameOrId);
  const isNumber = typeof nameOrId === 'number' || (text !== null && /^\d+$/.test(text));
  const number = readTokenId(isNumber ? nameOrId : id);
  const claim = { name: isNumber ? null : text, id: number === null ? null : Number(number), version };
  if (claim.name !== null || claim.id !== null) into.push(claim);
}
