import type { HttpClient } from '../net/http.ts';
import { chooseEndpoint, findEndpointProblem, isBlockedByOperator } from './experiment-url.ts';
import { findMatchingSkill } from './oasf.ts';
import type { HiddenReason } from './reasons.ts';
import type { Registration } from './registration.ts';

export interface Criteria {
  readonly http: Pick<HttpClient, 'isAllowedHost' | 'findUrlProblem'>;
  readonly blockedWorkers: readonly string[];
  readonly skill: string | undefined;
}

export interface Judgement {
  readonly endpoint: string | null;
  readonly matchedSkill: string | null;
  readonly hiddenReason: HiddenReason | null;
}

/**
 * Decides from a registration alone whether it describes a worker that may be asked. What is dangerous is named before
 * what is merely unfit.
 * @param isActive the registration's own word, else the index's; null: unknown, which is not inactive
 */
export function judgeRegistration(registration: Registration, isActive: boolean | null, criteria: Criteria): Judgement {
  const choice = chooseEndpoint(registration);
  const matchedSkill = findMatchingSkill(registration.skills, criteria.skill);
  const endpoint = choice.ok ? choice.endpoint : null;
  const problem = choice.ok ? findEndpointProblem(choice.endpoint, criteria.http) : choice.reason;
  const isHazard = problem !== null && problem !== 'no_endpoint' && problem !== 'blocked_url';
  const hiddenReason =
    (isHazard ? problem : null) ??
    (matchedSkill === null ? 'no_matching_skill' : null) ??
    problem ??
    (endpoint !== null && isBlockedByOperator(endpoint, criteria.blockedWorkers) ? 'blocked_by_operator' : null) ??
    (isActive === false ? 'inactive' : null);
  return { endpoint, matchedSkill, hiddenReason };
}
