/** What feedback may be about and we understand; other tags are other people's business. */
export const REPUTATION_TAGS = ['starred', 'successRate', 'responseTime'] as const;
export type ReputationTag = (typeof REPUTATION_TAGS)[number];

/** How a tag is written on chains: as the ERC has it first, then what some tools make of it. */
export const TAG_SPELLINGS: Readonly<Record<ReputationTag, readonly string[]>> = {
  starred: ['starred'],
  successRate: ['successRate', 'successrate'],
  responseTime: ['responseTime', 'responsetime'],
};

/** One row of the reputation registry that stands, as far as we use it. */
export interface FeedbackRow {
  /** Lower case. */
  readonly client: `0x${string}`;
  /** Counts from 1 for each client of an agent. */
  readonly index: bigint;
  readonly tag: ReputationTag;
  readonly value: bigint;
  /** Digits of `value` behind the point, 0 to 18. */
  readonly decimals: number;
}

/** What rows of one weight say together. */
export interface Score {
  /** Rows tagged `starred`. */
  readonly count: number;
  /** Different addresses behind them. */
  readonly reviewers: number;
  /** Their mean, 0 to 100. */
  readonly score: number;
  /** Mean of the rows tagged `successRate`, percent; absent without any. */
  readonly successRate?: number | undefined;
  /** Mean of the rows tagged `responseTime`, milliseconds; absent without any. */
  readonly responseTimeMs?: number | undefined;
}

/** Decimals to which values are brought before they are added: the most that a registry takes. */
const SCALE = 18;
/** Digits of a mean that are shown. */
const SHOWN_DIGITS = 3;
/** A response time above this is no measurement, in milliseconds: a day. */
const MAX_RESPONSE_MS = 86_400_000n;

const LIMITS: Readonly<Record<ReputationTag, bigint>> = {
  starred: 100n,
  successRate: 100n,
  responseTime: MAX_RESPONSE_MS,
};

/** Exact mean of values of any decimals, with 18 decimals (cut towards zero); null of nothing, never 0. */
export function averageValues(values: readonly Pick<FeedbackRow, 'value' | 'decimals'>[]): bigint | null {
  if (values.length === 0) return null;
  const sum = values.reduce((all, row) => all + scale(row), 0n);
  return sum / BigInt(values.length);
}

/**
 * Sums rows up, tag by tag, since a mean over several tags mixes points with milliseconds.
 * @returns null when no row rates the agent
 */
export function summariseRows(rows: readonly FeedbackRow[]): Score | null {
  const usable = rows.filter(isWithinLimits);
  const starred = usable.filter(({ tag }) => tag === 'starred');
  const score = averageValues(starred);
  if (score === null) return null;
  const meanOf = (tag: ReputationTag) => averageValues(usable.filter((row) => row.tag === tag));
  const [successRate, responseTime] = [meanOf('successRate'), meanOf('responseTime')];
  return {
    count: starred.length,
    reviewers: new Set(starred.map(({ client }) => client)).size,
    score: toNumber(score),
    ...(successRate === null ? {} : { successRate: toNumber(successRate) }),
    ...(responseTime === null ? {} : { responseTimeMs: toNumber(responseTime) }),
  };
}

/** One value outside its scale would outweigh any number of honest ones. */
function isWithinLimits(row: FeedbackRow): boolean {
  const value = scale(row);
  return value >= 0n && value <= LIMITS[row.tag] * 10n ** BigInt(SCALE);
}

function scale({ value, decimals }: Pick<FeedbackRow, 'value' | 'decimals'>): bigint {
  return value * 10n ** BigInt(SCALE - decimals);
}

/** For display: rounded to three digits behind the point. */
function toNumber(scaled: bigint): number {
  const unit = 10n ** BigInt(SCALE - SHOWN_DIGITS);
  return Number((scaled + unit / 2n) / unit) / 10 ** SHOWN_DIGITS;
}
