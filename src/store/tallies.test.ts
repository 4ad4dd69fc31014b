import fc from 'fast-check';
import { expect, it } from 'vitest';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { groupBy } from '../campaign/evidence.ts';
import { loadAgentStandings } from '../leaderboard/agents.ts';
import { loadVariantStandings, loadWorkerStandings, VERDICTS_THAT_COUNT } from '../leaderboard/standings.ts';

const WORKERS = ['https://a.example/run', 'https://b.example/run', null];
const STATES = ['claimed', 'sent', 'returned', 'judged', 'published', 'failed', 'lost', 'unpaid', 'refused'];
const VERDICTS = ['BASELINE', 'KEEP', 'DISCARD', 'FAILED', 'SUSPECT', null];
const AGENTS = ['nova', 'lyra', null];
const ROLES = ['single', 'round', 'baseline', 'confirmation'];
const EXPERIMENTS = 12;

const change = fc.record({
  index: fc.nat(EXPERIMENTS - 1),
  worker_endpoint: fc.constantFrom(...WORKERS),
  state: fc.constantFrom(...STATES),
  verdict: fc.constantFrom(...VERDICTS),
  val_bpb: fc.constantFrom(null, 0.9, 1.1),
  evidence: fc.constantFrom(null, '{"tier":"small"}'),
  paid: fc.constantFrom('signed', 'settled', 'claimed', 'released'),
});

it('counts per worker, agent and variant as a recount does, whatever changes in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 30 }), async (changes) => {
      const db = await openStore();
      const ids = await seedExperiments(db, EXPERIMENTS);
      for (const [index, experiment_id] of ids.entries())
        await db
          .updateTable('experiments')
          .set({
            agent: AGENTS[index % AGENTS.length] ?? null,
            variant_hash: `sha256:${index % 2}`,
            role: ROLES[index % ROLES.length] ?? 'single',
          })
          .where('experiment_id', '=', experiment_id)
          .execute();
      for (const { index, paid, ...columns } of changes) {
        const experiment_id = ids[index] ?? '';
        await db.updateTable('experiments').set(columns).where('experiment_id', '=', experiment_id).execute();
        const target = {
          worker_endpoint: columns.worker_endpoint ?? 'https://c.example/run',
          state: paid,
          value: 7 + index,
        };
        await db
          .insertInto('attempts')
          .values({
            ...target,
            experiment_id,
            attempt: 1,
            chain_id: 1,
            terms: '{}',
            sends: 0,
            created_at: 0,
            updated_at: 0,
          })
          .onConflict((conflict) => conflict.columns(['experiment_id', 'attempt']).doUpdateSet(target))
          .execute();
      }
      const rows = await db.selectFrom('experiments').selectAll().execute();
      const attempts = await db.selectFrom('attempts').selectAll().execute();
      const ended = rows.filter(
        ({ state, worker_endpoint }) =>
          worker_endpoint !== null && ['judged', 'published', 'failed', 'lost'].includes(state),
      );
      const scored = ended.filter(
        ({ verdict, val_bpb }) => val_bpb !== null && VERDICTS_THAT_COUNT.includes(verdict ?? ''),
      );
      const standings = await loadWorkerStandings(db, 100, 0);
      for (const endpoint of new Set(ended.map(({ worker_endpoint }) => worker_endpoint))) {
        const own = <T extends { worker_endpoint: string | null }>(list: readonly T[]) =>
          list.filter((row) => row.worker_endpoint === endpoint);
        expect(standings.rows.find(({ workerEndpoint }) => workerEndpoint === endpoint)).toMatchObject({
          runs: own(ended).length,
          scored: own(scored).length,
          spentAtomic: own(attempts).reduce(
            (sum, { state, value }) => sum + (['settled', 'claimed'].includes(state) ? value : 0),
            0,
          ),
        });
      }
      const proposals = rows.filter(
        ({ agent, verdict, role }) => agent !== null && verdict !== null && ['single', 'round'].includes(role),
      );
      const agents = await loadAgentStandings(db, 100, 0);
      expect(agents.total).toBe(new Set(proposals.map(({ agent }) => agent)).size);
      for (const standing of agents.rows) {
        const own = proposals.filter(({ agent }) => agent === standing.agent);
        const counting = own.filter(
          ({ verdict, val_bpb }) => val_bpb !== null && VERDICTS_THAT_COUNT.includes(verdict ?? ''),
        );
        expect(standing).toMatchObject({
          runs: own.length,
          scored: counting.length,
          kept: own.filter(({ verdict }) => verdict === 'KEEP').length,
          bestValBpb: counting.length === 0 ? null : Math.min(...counting.map(({ val_bpb }) => val_bpb ?? 0)),
        });
      }
      const counting = rows.filter(
        ({ verdict, val_bpb }) => val_bpb !== null && VERDICTS_THAT_COUNT.includes(verdict ?? ''),
      );
      const tierOf = ({ evidence }: { evidence: string | null }) =>
        evidence === null ? 'any' : String(JSON.parse(evidence).tier);
      const variants = groupBy(counting, (row) => `${row.variant_hash} ${tierOf(row)}`).map((runs) => ({
        runs: runs.length,
        mean: (runs.reduce((sum, { val_bpb }) => sum + (val_bpb ?? 0), 0) / runs.length).toFixed(6),
      }));
      const ranking = await loadVariantStandings(db, 10, 0);
      const shown = ranking.rows.map((row) => ({ runs: row.runs, mean: row.valBpb.toFixed(6) }));
      const inOrder = (a: { mean: string; runs: number }, b: { mean: string; runs: number }) =>
        Number(a.mean) - Number(b.mean) || a.runs - b.runs;
      expect(shown.toSorted(inOrder)).toEqual(variants.toSorted(inOrder));
      expect(shown.map(({ mean }) => mean)).toEqual(shown.map(({ mean }) => mean).toSorted());
      expect(ranking.total).toBe(variants.length);
    }),
    { numRuns: 15 },
  );
});
