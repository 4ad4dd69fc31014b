import type { Worker, WorkerIdentity } from './worker.ts';

/** Best first; what an operator named outranks what an index says. */
const RANK: Record<WorkerIdentity, number> = { operator: 0, verified: 1, file_only: 2, unbound: 3 };
const HEALTH_RANK: Record<Worker['health']['status'], number> = { ok: 0, busy: 1, unknown: 2, unreachable: 3 };

/**
 * Makes one worker of all registrations of one endpoint: offered before hidden, then `verified`, then the lowest chain
 * id represents it; every identity stays listed (8004scan.md section 10). An owner alone merges nothing.
 */
export function mergeWorkers(workers: readonly Worker[]): readonly Worker[] {
  const groups = new Map<string, Worker[]>();
  for (const worker of workers) {
    // Without an endpoint there is nothing that two registrations could share.
    const key = worker.workerEndpoint ?? worker.workerId;
    const group = groups.get(key);
    if (group) group.push(worker);
    else groups.set(key, [worker]);
  }
  return markPossibleDuplicates([...groups.values()].flatMap(mergeGroup).sort(compareWorkers));
}

function mergeGroup(group: Worker[]): Worker[] {
  // Most endpoints are registered once, and lists of a thousand are merged with every page.
  if (group.length === 1) return group;
  const [first, ...others] = [...group].sort(compareRepresentatives);
  if (!first) return [];
  const identities = [first, ...others].flatMap((worker) => worker.identities);
  const isVouchedFor = group.some((worker) => worker.identity === 'operator');
  // A verified registration tells more about an operator's worker than its bare address; its trust is the operator's.
  const identity = isVouchedFor && first.identity !== 'verified' ? 'operator' : first.identity;
  return [{ ...first, identity, identities }];
}

function compareRepresentatives(a: Worker, b: Worker): number {
  const hidden = Number(a.hiddenReason !== undefined) - Number(b.hiddenReason !== undefined);
  return hidden || representativeRank(a) - representativeRank(b) || compareIds(a, b);
}

function representativeRank(worker: Worker): number {
  return worker.identity === 'verified' ? -1 : RANK[worker.identity];
}

function compareWorkers(a: Worker, b: Worker): number {
  const hidden = Number(a.hiddenReason !== undefined) - Number(b.hiddenReason !== undefined);
  const health = HEALTH_RANK[a.health.status] - HEALTH_RANK[b.health.status];
  return hidden || RANK[a.identity] - RANK[b.identity] || health || compareIds(a, b);
}

function compareIds(a: Worker, b: Worker): number {
  const chain = (a.chainId ?? 0) - (b.chainId ?? 0);
  if (chain !== 0) return chain;
  // Ids are decimal without leading zeros: the longer one is the larger.
  const [left, right] = [a.agentId ?? '0', b.agentId ?? '0'];
  if (left.length !== right.length) return left.length - right.length;
  if (left !== right) return left < right ? -1 : 1;
  return a.workerId < b.workerId ? -1 : 1;
}

/** Same owner and same name under another endpoint: shown, never merged. */
function markPossibleDuplicates(workers: readonly Worker[]): Worker[] {
  const seen = new Map<string, string>();
  return workers.map((worker) => {
    if (worker.owner === null || worker.untrustedName === null) return worker;
    const key = `${worker.owner} ${worker.untrustedName}`;
    const original = seen.get(key);
    if (original === undefined) seen.set(key, worker.workerId);
    return original === undefined ? worker : { ...worker, possibleDuplicateOf: original };
  });
}
