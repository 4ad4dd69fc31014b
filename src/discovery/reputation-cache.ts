import type { Hex } from 'viem';
import * as z from 'zod';
import type { Log } from '../base/log.ts';
import type { DiscoveryCache } from './discovery-cache.ts';
import type { Progress, Reputation, ReputationReading } from './reputation.ts';

/** A reading as it was kept. */
export interface KeptReading extends ReputationReading {
  readonly storedAtMs: number;
}

const Whole = z
  .string()
  .regex(/^-?\d+$/)
  .transform(BigInt);
const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x[0-9a-fA-F]*$/.test(value);
const Score = z.object({
  count: z.number(),
  reviewers: z.number(),
  score: z.number(),
  successRate: z.number().optional(),
  responseTimeMs: z.number().optional(),
});
const Stored = z.object({
  reputation: z
    .object({ trusted: Score.nullable(), paid: Score.nullable(), others: Score.nullable() })
    .nullable() satisfies z.ZodType<Reputation | null>,
  isComplete: z.boolean(),
  progress: z.object({
    covered: z.array(z.object({ from: z.number(), to: z.number() })),
    payments: z.record(z.string(), z.string()),
    waiting: z.array(
      z.object({
        client: z.custom<Hex>(isHex),
        index: Whole,
        value: Whole,
        decimals: z.number(),
        uri: z.string(),
        hash: z.custom<Hex>(isHex),
        tries: z.number(),
      }),
    ),
  }) satisfies z.ZodType<Progress>,
});

/** Readings in the store, shared by its processes. A cache that fails costs a reading, never an answer. */
export class ReputationCache {
  constructor(
    private readonly cache: DiscoveryCache,
    private readonly log: Log,
  ) {}

  /** What was kept, if this version can read it. */
  async load(key: string): Promise<KeptReading | undefined> {
    try {
      const stored = await this.cache.load(key);
      const reading = Stored.safeParse(stored?.value).data;
      return stored && reading && { ...reading, storedAtMs: stored.storedAtMs };
    } catch (error) {
      this.log.warn({ key, error }, 'reputation could not be loaded');
      return undefined;
    }
  }

  async save(key: string, { reputation, isComplete, progress }: ReputationReading, nowMs: number): Promise<void> {
    const waiting = progress.waiting.map(({ index, value, ...rest }) => ({
      ...rest,
      index: index.toString(),
      value: value.toString(),
    }));
    try {
      await this.cache.save(key, { reputation, isComplete, progress: { ...progress, waiting } }, nowMs);
    } catch (error) {
      this.log.warn({ key, error }, 'reputation could not be kept');
    }
  }
}
