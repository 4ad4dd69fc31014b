import { cleanUntrusted, UNTRUSTED_CAPS } from '../base/untrusted.ts';
import { type AgentIdentity, parseAgentRegistration } from './agent-identity.ts';
import { parseServices, type ServiceList } from './registration-services.ts';
import { isRecord, type JsonRecord, listFields, readField, readFlag } from './tolerant.ts';

/** An agent's registration file, reduced to what we use. Every part of it is a stranger's claim. */
export interface Registration extends ServiceList {
  readonly nameUntrusted: string | null;
  readonly descriptionUntrusted: string | null;
  /** A hint only: the worker's 402 answer decides. Null: not said. */
  readonly x402: boolean | null;
  /** Null: not said, which is not the same as inactive. */
  readonly active: boolean | null;
  /** The tokens that the file names as its own. */
  readonly registrations: readonly AgentIdentity[];
  readonly metadata: Readonly<Record<string, string | number>>;
}

export type RegistrationResult =
  | { readonly ok: true; readonly registration: Registration }
  | { readonly ok: false; readonly reason: 'bad_registration' };

const MAX_REGISTRATIONS = 200;
const MAX_METADATA_KEYS = 100;
const MAX_METADATA_KEY_CHARS = 80;
const MAX_METADATA_CHARS = 256;

/**
 * Reads a registration document, however it is spelled (8004scan.md section 8). It never throws: what cannot be read is
 * left out, and a document that is no object is `bad_registration`.
 * @param document parsed JSON
 */
export function parseRegistration(document: unknown): RegistrationResult {
  if (!isRecord(document)) return { ok: false, reason: 'bad_registration' };
  return {
    ok: true,
    registration: {
      nameUntrusted: cleanUntrusted(readField(document, 'name'), UNTRUSTED_CAPS.name),
      descriptionUntrusted: cleanUntrusted(readField(document, 'description'), UNTRUSTED_CAPS.description),
      ...parseServices(document),
      x402: parseX402(readField(document, 'x402Support', 'x402support')),
      active: readFlag(readField(document, 'active')),
      registrations: parseRegistrations(readField(document, 'registrations')),
      metadata: parseMetadata(document),
    },
  };
}

function parseX402(value: unknown): boolean | null {
  return isRecord(value) ? readFlag(readField(value, 'enabled')) : readFlag(value);
}

function parseRegistrations(value: unknown): AgentIdentity[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_REGISTRATIONS).flatMap((entry) => {
    const agent = isRecord(entry) ? parseAgentRegistration(entry.agentRegistry, entry.agentId) : null;
    return agent ? [agent] : [];
  });
}

/** Of both spellings of the key, `metadata` wins. */
function parseMetadata(document: JsonRecord): Record<string, string | number> {
  const fields = [readField(document, 'autoresearch'), readField(document, 'metadata')]
    .filter(isRecord)
    .flatMap((record) => listFields(record, MAX_METADATA_KEYS));
  const values = new Map<string, string | number>();
  for (const [key, value] of fields) {
    if (key.length > MAX_METADATA_KEY_CHARS) continue;
    if (typeof value === 'number') values.set(key, value);
    // Cut, not left out: a value that is too long must not become one that is merely absent.
    if (typeof value === 'string') values.set(key, value.slice(0, MAX_METADATA_CHARS));
  }
  return Object.fromEntries(values);
}
