import { type AgentIdentity, formatAgentId } from '../discovery/agent-identity.ts';
import type { Subject } from '../discovery/reputation.ts';
import type { Db } from '../store/database.ts';

/** Whom an agent is known to be paid through, and which addresses are our own, from all payments of this store. */
export async function describeSubject(db: Db, agent: AgentIdentity): Promise<Subject> {
  const [paid, payers] = await Promise.all([
    db
      .selectFrom('attempts')
      .select('pay_to')
      .distinct()
      .where('worker_id', '=', formatAgentId(agent))
      .where('state', '=', 'settled')
      .execute(),
    db.selectFrom('attempts').select('payer').distinct().execute(),
  ]);
  return {
    agent,
    payees: paid.flatMap(({ pay_to }) => pay_to ?? []),
    ours: payers.flatMap(({ payer }) => payer ?? []),
  };
}
