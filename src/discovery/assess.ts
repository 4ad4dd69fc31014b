import { isoTime } from '../base/time.ts';
import { type AgentFactsDeps, findAgentFacts } from './agent-facts.ts';
import type { HealthProber } from './health.ts';
import { type BindingEvidence, type DomainChecker, decideIdentity, isBoundByOwnFile } from './identity.ts';
import type { CallBudget } from './index-api.ts';
import type { IndexRow } from './index-row.ts';
import { type Criteria, judgeRegistration } from './judge.ts';
import type { HiddenReason } from './reasons.ts';
import { parseRegistration, type Registration } from './registration.ts';
import type { RegistrationReader } from './registration-source.ts';
import { parseSelfReportedScore } from './self-reported.ts';
import { readAddress } from './tolerant.ts';
import { draftFromRow, type Worker, withIdentity } from './worker.ts';

export interface AssessDeps extends AgentFactsDeps {
  readonly reader: RegistrationReader;
  readonly domains: DomainChecker;
  readonly prober: HealthProber;
}

export interface AssessContext {
  readonly criteria: Criteria;
  /** The only chain that is asked for; null: all. */
  readonly chainId: number | null;
  readonly source: Worker['source'];
  readonly budget: CallBudget;
  /** What the files of one agent may take, milliseconds. */
  readonly budgetMs: number;
  /** Nothing that was read before this time (Unix epoch) is used again. */
  readonly notBeforeMs: number;
  /** Takes every state of the agent that is better than the one before. */
  readonly publish: (worker: Worker) => void;
}

/** Failures after which the index's copy still is the best that is known; others show that the copy is out of date. */
const IS_ABSENCE: ReadonlySet<HiddenReason> = new Set(['unreachable', 'timeout', 'pending']);

/**
 * Finds out what an agent of the index is: its registration from its own file, whether that describes a worker we look
 * for, who it belongs to, how it feels. Each step that is known is published, so that a slow one costs itself alone.
 */
export async function assessAgent(deps: AssessDeps, row: IndexRow, context: AssessContext): Promise<void> {
  const { publish, budget } = context;
  const draft = draftFromRow(row, context.source);
  if (context.chainId !== null && row.agent.chainId !== context.chainId) {
    publish({ ...draft, hiddenReason: 'other_chain' });
    return;
  }
  publish(draft);
  const found = await findAgentFacts(deps, row, budget);
  if (!found.ok) {
    publish({ ...draft, hiddenReason: found.reason });
    return;
  }
  const { facts } = found;
  const known = {
    ...draft,
    indexedAt: facts.indexedAt ?? draft.indexedAt,
    agentWallet: readAddress(facts.agentWallet) ?? draft.agentWallet,
  };
  const copy = facts.content === undefined ? null : parseRegistration(facts.content);
  if (copy?.ok)
    publish(
      describe({ known, row, registration: copy.registration, servedBy: null }, context, deps.clock.nowMs()).worker,
    );
  const uri = facts.uri ?? (copy ? null : facts.agentUrl);
  const answer =
    uri === null ? null : await deps.reader.read(uri, context.budgetMs, budget.signal, context.notBeforeMs);
  if (answer?.ok) {
    const fetched = { ...known, fetchedAt: isoTime(answer.fetchedAtMs) };
    const { registration, servedBy } = answer;
    await finish(deps, { known: fetched, row, registration, servedBy }, context);
  } else if (copy?.ok && (answer === null || IS_ABSENCE.has(answer.reason))) {
    await finish(deps, { known, row, registration: copy.registration, servedBy: null }, context);
  } else {
    // An agent_url that is no registration was a guess: what is missing is the agentURI.
    const reason = facts.uri === null ? undefined : answer?.reason;
    publish({ ...known, hiddenReason: reason ?? (copy?.ok === false ? copy.reason : 'no_uri') });
  }
}

interface Reading {
  readonly known: Worker;
  readonly row: IndexRow;
  readonly registration: Registration;
  /** Whose word the registration is; null: nobody's. */
  readonly servedBy: URL | null;
}

interface Description {
  readonly worker: Worker;
  /** Null when there is no endpoint that could be bound to anything. */
  readonly evidence: BindingEvidence | null;
}

/** The worker as its registration describes it, before anybody else was asked. */
function describe(reading: Reading, context: AssessContext, nowMs: number): Description {
  const { known, row, registration, servedBy } = reading;
  const active = registration.active ?? row.active;
  const { endpoint, matchedSkill, hiddenReason } = judgeRegistration(registration, active, context.criteria);
  const score = parseSelfReportedScore(registration.metadata, nowMs);
  const { hiddenReason: _pending, ...rest } = known;
  const described: Worker = {
    ...rest,
    workerEndpoint: endpoint,
    active,
    matchedSkill,
    x402: registration.x402 ?? known.x402,
    selfReportedValBpb: score.valBpb,
    selfReportedUpdated: score.updated,
    selfReportedProblem: score.problem,
    untrustedName: registration.nameUntrusted ?? known.untrustedName,
    untrustedDescription: registration.descriptionUntrusted ?? known.untrustedDescription,
    ...(hiddenReason === null ? {} : { hiddenReason }),
  };
  if (endpoint === null) return { worker: described, evidence: null };
  const evidence = { agent: row.agent, registration, servedBy, endpoint };
  return { worker: withIdentity(described, decideIdentity(evidence)), evidence };
}

/** Asks the endpoint's host who it belongs to and how it is; never one that is hidden for another reason. */
async function finish(deps: AssessDeps, reading: Reading, context: AssessContext): Promise<void> {
  const { worker, evidence } = describe(reading, context, deps.clock.nowMs());
  let current = worker;
  const publish = (next: Worker) => {
    current = next;
    context.publish(next);
  };
  publish(worker);
  if (!evidence || worker.hiddenReason !== undefined) return;
  const { signal } = context.budget;
  const checkDomain = async () => {
    if (isBoundByOwnFile(evidence)) return;
    const domain = await deps.domains.check(evidence.endpoint, reading.row.agent, signal, context.notBeforeMs);
    publish(withIdentity(current, decideIdentity(evidence, domain)));
  };
  const checkHealth = async () => {
    const health = await deps.prober.probe(evidence.endpoint, signal, context.notBeforeMs);
    publish({ ...current, health, ...(health.status === 'unreachable' ? { hiddenReason: 'unreachable' } : {}) });
  };
  await Promise.all([checkDomain(), checkHealth()]);
}
