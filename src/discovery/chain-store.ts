import { type ExpressionBuilder, sql } from 'kysely';
import * as z from 'zod';
import type { Db, Trx } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import { addRange, type BlockRange, clipRanges } from './chain-ranges.ts';
import { findMatchingSkill, listSkillTerms, type SkillClaim } from './oasf.ts';
import type { HiddenReason } from './reasons.ts';
import type { RegistryPlace } from './registries.ts';
import type { SeenAgent } from './registry-logs.ts';
import { readTokenId } from './tolerant.ts';

export interface ScanState {
  /** Newest first. */
  readonly covered: readonly BlockRange[];
  readonly windowBlocks: number;
}

/** One answered window of a scan. */
export interface ScannedWindow {
  readonly range: BlockRange;
  /** What of it no reorganisation can change any more; empty when `from` is above `to`. */
  readonly final: BlockRange;
  readonly agents: readonly SeenAgent[];
  readonly windowBlocks: number;
}

/** A file that answered is read again after this time, since its address may stay while its words change. */
const READ_AGAIN_MS = 24 * 3_600_000;
/** One that did not answer is tried again after this time. */
const TRY_AGAIN_MS = 3_600_000;
/** Agents that may claim a skill, newest first; more workers of one chain are never shown. */
const MAX_CLAIMING = 5_000;
const ROWS_PER_INSERT = 200;

const Covered = z.array(z.object({ from: z.int().nonnegative(), to: z.int().nonnegative() }).readonly());
const Claims = z.array(
  z.object({ name: z.string().nullable(), id: z.number().nullable(), version: z.string().nullable() }).readonly(),
);

/** What the logs of registries said, kept between calls and processes, so that nothing is read from a chain twice. */
export class ChainStore {
  constructor(private readonly db: Db) {}

  /**
   * How far a registry was read; blocks above `top` count as unread.
   * @param genesis hash of the chain's first block; when it differs, what is kept is of another chain and forgotten
   */
  async loadState(place: RegistryPlace, genesis: string | null, top: number): Promise<ScanState | undefined> {
    const row = await this.db.selectFrom('registry_scans').selectAll().where(isOf(place)).executeTakeFirst();
    if (!row) return undefined;
    if (genesis !== null && row.genesis !== '' && row.genesis !== genesis) {
      await this.#forget(place);
      return undefined;
    }
    return { covered: clipRanges(parseCovered(row.covered), top), windowBlocks: row.window_blocks };
  }

  /** Keeps what a window held. Other processes may scan the same chain: what they covered stays covered. */
  async saveWindow(place: RegistryPlace, genesis: string | null, window: ScannedWindow, nowMs: number): Promise<void> {
    await this.db.transaction().execute(async (trx) => {
      await saveAgents(trx, place, window.agents, await reviewAgents(trx, place, window));
      const row = await trx.selectFrom('registry_scans').select('covered').where(isOf(place)).executeTakeFirst();
      const covered = JSON.stringify(addRange(parseCovered(row?.covered ?? '[]'), window.final));
      const values = { covered, genesis: genesis ?? '', window_blocks: window.windowBlocks, updated_at: nowMs };
      await trx
        .insertInto('registry_scans')
        .values({ chain_id: place.chainId, registry: place.address, ...values })
        .onConflict((conflict) => conflict.columns(['chain_id', 'registry']).doUpdateSet(values))
        .execute();
    });
  }

  /** Keeps how many blocks a request may span, also when none was answered. */
  async saveWindowSize(
    place: RegistryPlace,
    genesis: string | null,
    windowBlocks: number,
    nowMs: number,
  ): Promise<void> {
    const range = { from: 1, to: 0 };
    await this.saveWindow(place, genesis, { range, final: range, agents: [], windowBlocks }, nowMs);
  }

  /** Agents whose registration claims a skill or one of its aliases, newest first. */
  async loadMatching(place: RegistryPlace, skill: string | undefined): Promise<readonly string[]> {
    const terms = listSkillTerms(skill).map((term) => `%${JSON.stringify(term)}%`);
    const rows = await this.db
      .selectFrom('registry_agents')
      .select(['agent_id', 'claims'])
      .where(isOf(place))
      .where('claims', '<>', '[]')
      // Rough, so that few rows have to be read closely.
      .where((eb) => eb.or(terms.map((term) => eb('claims', 'like', term))))
      .orderBy('block', 'desc')
      .orderBy('log_index', 'desc')
      .limit(MAX_CLAIMING)
      .execute();
    const isMatch = (claims: string | null) => findMatchingSkill(parseClaims(claims), skill) !== null;
    return rows.filter(({ claims }) => isMatch(claims)).map((row) => row.agent_id);
  }

  /** Agents whose files are to be read: those never tried first, then the newest. */
  async loadUnread(place: RegistryPlace, limit: number, nowMs: number): Promise<readonly string[]> {
    const rows = await this.db
      .selectFrom('registry_agents')
      .select('agent_id')
      .where(isOf(place))
      .where((eb) =>
        eb.or([
          eb.and([eb('claims', 'is', null), eb('read_at', '<=', nowMs - TRY_AGAIN_MS)]),
          eb('read_at', '<=', nowMs - READ_AGAIN_MS),
        ]),
      )
      .orderBy(sql`claims is null`, 'desc')
      .orderBy('read_at')
      .orderBy('block', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => row.agent_id);
  }

  /** Keeps what an agent's file said, or why it said nothing; does nothing for agents that no log has named. */
  async saveRead(
    place: RegistryPlace,
    agentId: string,
    read: { readonly claims: readonly SkillClaim[] } | { readonly reason: HiddenReason },
    nowMs: number,
  ): Promise<void> {
    const values =
      'claims' in read ? { claims: JSON.stringify(read.claims), reason: null } : { claims: null, reason: read.reason };
    await this.db
      .updateTable('registry_agents')
      .set({ ...values, read_at: nowMs })
      .where(isOf(place))
      .where('agent_id', '=', agentId)
      // What the log itself says needs no reading.
      .where('read_at', 'is not', null)
      .execute();
  }

  /** Agents by what is known of them: a reason, `no_matching_skill` for those that were read, else `not_checked`. */
  async countReasons(place: RegistryPlace, except: readonly string[]): Promise<Readonly<Record<string, number>>> {
    const rows = await this.db
      .selectFrom('registry_agents')
      .select((eb) => [
        sql<string>`coalesce(reason, case when claims is null then 'not_checked' else 'no_matching_skill' end)`.as(
          'reason',
        ),
        eb.fn.countAll<number>().as('count'),
      ])
      .where(isOf(place))
      .where('agent_id', 'not in', except.length > 0 ? except : [''])
      .groupBy(sql`1`)
      .execute();
    return Object.fromEntries(rows.map(({ reason, count }) => [reason, Number(count)]));
  }

  /** Agents of the registry that were given work from this store. */
  async loadHired({ chainId, address }: RegistryPlace): Promise<readonly string[]> {
    const prefix = `${chainId}:${address}:`;
    const rows = await this.db
      .selectFrom('attempts')
      .select('worker_id')
      .distinct()
      .where('worker_id', 'like', `${prefix}%`)
      .limit(100)
      .execute();
    return rows.flatMap((row) => readTokenId(row.worker_id?.slice(prefix.length)) ?? []);
  }

  async #forget(place: RegistryPlace): Promise<void> {
    await this.db.transaction().execute(async (trx) => {
      await trx.deleteFrom('registry_scans').where(isOf(place)).execute();
      await trx.deleteFrom('registry_agents').where(isOf(place)).execute();
    });
  }
}

/**
 * Blocks at the top of the chain are read more than once. What was read there and stands there no more was taken back by
 * a reorganisation: the agent counts as unread, and its registry will say where its file is now.
 * @returns the agents whose log is as it was
 */
async function reviewAgents(trx: Trx, place: RegistryPlace, window: ScannedWindow): Promise<ReadonlySet<string>> {
  const keyOf = (...parts: readonly (string | number)[]) => parts.join(' ');
  const current = new Set(
    window.agents.map((agent) => keyOf(agent.agentId, agent.block, agent.logIndex, agent.uriDigest)),
  );
  const rows = await trx
    .selectFrom('registry_agents')
    .select(['agent_id', 'block', 'log_index', 'uri_digest'])
    .where(isOf(place))
    .where('block', '>=', window.range.from)
    .where('block', '<=', window.range.to)
    .execute();
  const unchanged = new Set<string>();
  for (const { agent_id, block, log_index, uri_digest } of rows) {
    if (current.has(keyOf(agent_id, block, log_index, uri_digest))) unchanged.add(agent_id);
    else {
      const unread = { block: 0, log_index: -1, uri_digest: '', claims: null, reason: null, read_at: 0 };
      await trx
        .updateTable('registry_agents')
        .set(unread)
        .where(isOf(place))
        .where('agent_id', '=', agent_id)
        .execute();
    }
  }
  return unchanged;
}

/** The newest log of an agent wins, whatever order the blocks were read in. */
async function saveAgents(
  trx: Trx,
  { chainId, address }: RegistryPlace,
  agents: readonly SeenAgent[],
  unchanged: ReadonlySet<string>,
): Promise<void> {
  const newest = new Map<string, SeenAgent>();
  for (const agent of agents) {
    // A log that is read again must not undo the reading of its file.
    if (unchanged.has(agent.agentId)) continue;
    const known = newest.get(agent.agentId);
    const isOlder =
      known && (known.block > agent.block || (known.block === agent.block && known.logIndex > agent.logIndex));
    if (!isOlder) newest.set(agent.agentId, agent);
  }
  const rows = [...newest.values()].map((agent) => ({
    chain_id: chainId,
    registry: address,
    agent_id: agent.agentId,
    block: agent.block,
    log_index: agent.logIndex,
    uri_digest: agent.uriDigest,
    claims: agent.claims === null ? null : JSON.stringify(agent.claims),
    reason: agent.reason,
    read_at: agent.claims === null ? 0 : null,
  }));
  for (let at = 0; at < rows.length; at += ROWS_PER_INSERT) {
    await trx
      .insertInto('registry_agents')
      .values(rows.slice(at, at + ROWS_PER_INSERT))
      .onConflict((conflict) =>
        conflict
          .columns(['chain_id', 'registry', 'agent_id'])
          .doUpdateSet((eb) => ({
            block: eb.ref('excluded.block'),
            log_index: eb.ref('excluded.log_index'),
            uri_digest: eb.ref('excluded.uri_digest'),
            claims: eb.ref('excluded.claims'),
            reason: eb.ref('excluded.reason'),
            read_at: eb.ref('excluded.read_at'),
          }))
          .where(
            sql<boolean>`(excluded.block, excluded.log_index) > (registry_agents.block, registry_agents.log_index)`,
          ),
      )
      .execute();
  }
}

function isOf({ chainId, address }: RegistryPlace) {
  return (eb: ExpressionBuilder<Schema, 'registry_scans' | 'registry_agents'>) =>
    eb.and([eb('chain_id', '=', chainId), eb('registry', '=', address)]);
}

function parseCovered(text: string): readonly BlockRange[] {
  const ranges = Covered.safeParse(parseJson(text)).data ?? [];
  return ranges.reduce<readonly BlockRange[]>(addRange, []);
}

function parseClaims(text: string | null): readonly SkillClaim[] {
  return Claims.safeParse(parseJson(text ?? '[]')).data ?? [];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
