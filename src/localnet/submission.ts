import { randomBytes } from 'node:crypto';
import * as z from 'zod';

/** What a client posted to `/experiment`, read as the field's worker reads it (worker-api.md section 2). */
export type Submission =
  | { readonly kind: 'probe' }
  | { readonly kind: 'refused'; readonly error: string }
  | {
      readonly kind: 'run';
      readonly trainPy: string;
      readonly config: Readonly<Record<string, unknown>>;
      readonly experimentId: string;
    };

const objectSchema = z.record(z.string(), z.unknown());
const configSchema = objectSchema.nullable().optional();
const sourceSchema = z.string().regex(/\S/);
const idSchema = z.string().regex(/^[a-zA-Z0-9_-]+$/);

/** @param body bytes as received; empty when the client sent no length */
export function parseSubmission(body: Uint8Array, now: Date): Submission {
  const json = readJson(body);
  if ('problem' in json) return refuse(json.problem);
  const fields = objectSchema.safeParse(json.value);
  if (!fields.success) return refuse('JSON body must be an object');
  if (fields.data.probe === true) return { kind: 'probe' };

  const trainPy = sourceSchema.safeParse('train_py' in fields.data ? fields.data.train_py : fields.data.trainPy);
  if (!trainPy.success) return refuse('train_py string is required');
  if (!trainPy.data.isWellFormed()) return refuse("'utf-8' codec can't encode surrogates in train_py");
  const config = configSchema.safeParse(fields.data.config);
  if (!config.success) return refuse('config must be an object');
  const experimentId = idSchema.safeParse(
    fields.data.experiment_id ?? fields.data.experimentId ?? createExperimentId(now),
  );
  if (!experimentId.success) return refuse('experiment_id must match [a-zA-Z0-9_-]+');
  return { kind: 'run', trainPy: trainPy.data, config: config.data ?? {}, experimentId: experimentId.data };
}

function refuse(error: string): Submission {
  return { kind: 'refused', error };
}

function readJson(body: Uint8Array): { readonly value: unknown } | { readonly problem: string } {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    return { value };
  } catch {
    return { problem: 'invalid JSON body: not readable as JSON in UTF-8' };
  }
}

/** The id that the field's worker chooses when the client sends none. */
function createExperimentId(now: Date): string {
  return `exp-${now.toISOString().slice(0, 10).replaceAll('-', '')}-${randomBytes(4).toString('hex')}`;
}
