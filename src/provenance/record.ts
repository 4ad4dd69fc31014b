import { type JsonObject, JsonObject as JsonObjectSchema } from '../base/json.ts';
import { type AtomicUsdc, formatUsd } from '../base/money.ts';
import type { Trx } from '../store/database.ts';

/** What a record says about one finished experiment. */
export interface RecordFacts {
  readonly experimentId: string;
  readonly state: string;
  readonly settlement: string;
  readonly trainHash: string;
  readonly variantHash: string;
  readonly config: JsonObject;
  readonly parentHash: string | null;
  readonly description: string;
  readonly hypothesis: string | null;
  readonly agent: string | null;
  readonly loopId: string | null;
  /** What the run was for: `single`, `baseline`, `round`, or one of the extra runs of a loop. */
  readonly role: string;
  /** The experiment that it repeats, to see whether that was true. */
  readonly auditOf: string | null;
  /** What it says about that one, or that its own gain is provisional; null where neither. */
  readonly verification: string | null;
  readonly valBpb: number | null;
  readonly verdict: string | null;
  readonly workerEndpoint: string;
  /** Decimal agent id of the worker's registration; null for one that the operator named. */
  readonly workerAgentId: string | null;
  readonly workerId: string | null;
  readonly chainName: string;
  readonly payer: string | null;
  readonly payTo: string | null;
  readonly priceAtomic: AtomicUsdc;
  readonly nonce: string | null;
  readonly paymentTx: string | null;
  readonly attempt: number;
  readonly durationSeconds: number | null;
  readonly startedAt: string;
  readonly timestamp: string;
  /** The worker's answer as received; text where it was no JSON object. */
  readonly rawResult: JsonObject | string | null;
}

/** One line of `results.jsonl`: the fields that users of the old script know come first. */
export function buildRecordLine(facts: RecordFacts): string {
  const record = {
    experiment_id: facts.experimentId,
    train_hash: facts.trainHash,
    val_bpb: facts.valBpb,
    worker_endpoint: facts.workerEndpoint,
    worker_agent_id: facts.workerAgentId,
    timestamp: facts.timestamp,
    payment_tx: facts.paymentTx,
    chain: facts.chainName,
    raw_result: facts.rawResult,
    state: facts.state,
    settlement: facts.settlement,
    verdict: facts.verdict,
    variant_hash: facts.variantHash,
    config: facts.config,
    parent_hash: facts.parentHash,
    description: facts.description,
    hypothesis: facts.hypothesis,
    agent: facts.agent,
    loop_id: facts.loopId,
    role: facts.role,
    audit_of: facts.auditOf,
    verification: facts.verification,
    worker_id: facts.workerId,
    price_atomic: facts.priceAtomic.toString(),
    price_usdc: formatUsd(facts.priceAtomic),
    payer: facts.payer,
    pay_to: facts.payTo,
    nonce: facts.nonce,
    attempt: facts.attempt,
    duration_seconds: facts.durationSeconds,
    started_at: facts.startedAt,
  };
  return JSON.stringify(record);
}

/** Publishes a record in the store; a second one of the same experiment changes nothing. */
export async function saveRecord(trx: Trx, experimentId: string, line: string, nowMs: number): Promise<void> {
  await trx
    .insertInto('records')
    .values({ experiment_id: experimentId, line, created_at: nowMs })
    .onConflict((conflict) => conflict.column('experiment_id').doNothing())
    .execute();
}

/** Longest answer that is kept in a record as text, in characters; the store keeps all of it. */
const MAX_RAW_CHARS = 20_000;

/** The worker's answer as a record keeps it. */
export function toRawResult(body: Uint8Array): JsonObject | string {
  const text = new TextDecoder().decode(body);
  try {
    const parsed = JsonObjectSchema.safeParse(JSON.parse(text));
    if (parsed.success && text.length <= MAX_RAW_CHARS) return parsed.data;
  } catch {
    // Not JSON: kept as it is below.
  }
  return text.slice(0, MAX_RAW_CHARS).toWellFormed();
}
