import { InputError } from '../base/errors.ts';
import { canonicalJson, type Sha256, sha256 } from '../base/hash.ts';
import type { JsonObject } from '../base/json.ts';
import { describeVariant } from './describe.ts';
import { applyEdits, type Edit } from './edits.ts';
import { inheritConfig } from './inherited-config.ts';

/** One program to run: its source, its config, and where it came from. */
export interface Variant {
  readonly source: string;
  readonly trainHash: Sha256;
  readonly config: JsonObject;
  /** Identifies what is run: the hash of source and config together. */
  readonly variantHash: Sha256;
  readonly parentHash: Sha256 | null;
  /** Config of what it was made from; absent: that had none. */
  readonly parentConfig?: JsonObject | undefined;
  readonly description: string;
}

/** Longest source, in UTF-8 bytes; Karpathy's train.py has 26 kB. */
export const MAX_SOURCE_BYTES = 512 * 1024;
const MAX_CONFIG_BYTES = 16 * 1024;

/**
 * Makes a variant from a base and edits, or from a whole source (no edits, no base).
 * @param input.baseConfig config of the base, which the variant inherits; absent: none
 * @param input.isWhole whether source and config are all there is: nothing is inherited
 * @throws InputError when an edit does not match or the result cannot be sent as it is
 */
export function createVariant(input: {
  source: string;
  base: string | null;
  edits: readonly Edit[];
  config: JsonObject;
  baseConfig?: JsonObject;
  isWhole?: boolean;
}): Variant {
  const { base, baseConfig: parentConfig = {} } = input;
  const source = applyEdits(input.source, input.edits);
  const config =
    base === null || input.isWhole
      ? input.config
      : inheritConfig({ source: base, config: parentConfig }, source, input.config);
  assertSendable(source, config);
  const trainHash = sha256(source);
  return {
    source,
    trainHash,
    config,
    variantHash: hashVariant(trainHash, config),
    parentHash: base === null ? null : sha256(base),
    ...(Object.keys(parentConfig).length > 0 ? { parentConfig } : {}),
    description: describeVariant(base, source, config, parentConfig),
  };
}

/** Hash of RFC 8785 JSON of source hash and config (design.md section 5, invariant 2). */
export function hashVariant(trainHash: Sha256, config: JsonObject): Sha256 {
  return sha256(canonicalJson({ config, train_hash: trainHash }));
}

/** Hash of the variant that another was made from; null for a source of its own. */
export function hashParent({ parentHash, parentConfig = {} }: Pick<Variant, 'parentHash' | 'parentConfig'>) {
  return parentHash === null ? null : hashVariant(parentHash, parentConfig);
}

/** RFC 8785 refuses what no two readers would read alike. */
function hasCanonicalForm(config: JsonObject): boolean {
  try {
    canonicalJson(config);
    return true;
  } catch {
    return false;
  }
}

function assertSendable(source: string, config: JsonObject): void {
  const refuse = (message: string, nextStep: string): never => {
    throw new InputError('bad_variant', `${message} Nothing was submitted.`, nextStep);
  };
  if (source.trim() === '') refuse('The source is empty.', 'Send the whole train.py, or edits of a base.');
  const sizeBytes = Buffer.byteLength(source);
  if (sizeBytes > MAX_SOURCE_BYTES)
    refuse(`The source has ${sizeBytes} bytes, at most ${MAX_SOURCE_BYTES} are sent.`, 'Shorten it.');
  // The bytes sent are the bytes hashed: what UTF-8 cannot hold would arrive as something else.
  if (!source.isWellFormed() || source.includes('\0'))
    refuse('The source holds characters that UTF-8 text cannot carry.', 'Remove lone surrogates and NUL characters.');
  if (!hasCanonicalForm(config))
    refuse('The config holds text that UTF-8 cannot carry.', 'Remove lone surrogates from its names and values.');
  if (Buffer.byteLength(JSON.stringify(config)) > MAX_CONFIG_BYTES)
    refuse('The config is larger than 16 kB.', 'Put large values into the source.');
}
