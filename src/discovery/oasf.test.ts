import { describe, expect, it } from 'vitest';
import { DEFAULT_SKILL, findMatchingSkill, type SkillClaim } from './oasf.ts';

const claim = (part: Partial<SkillClaim>): SkillClaim => ({ name: null, id: null, version: null, ...part });

describe('findMatchingSkill', () => {
  it.each([
    'devops_mlops/model_versioning',
    ' /DevOps_MLOps/Model_Versioning/ ',
    'ai_ml_engineering/ml_lifecycle/model_versioning',
    'machine_learning/model_optimization',
  ])('accepts the alias %s in any spelling', (name) => {
    expect(findMatchingSkill([claim({ name: 'other/skill' }), claim({ name })])).toBe(
      name
        .trim()
        .toLowerCase()
        .replace(/^\/|\/$/g, ''),
    );
  });

  it.each([
    'ai_ml_engineering/model_optimization',
    'research_and_development/scientific_research',
    'model_versioning',
    'devops_mlops/devops_mlops',
    '',
  ])('does not accept %s', (name) => {
    expect(findMatchingSkill([claim({ name })])).toBeNull();
  });

  it.each([
    [{ id: 1204, version: 'v0.8.0' }, DEFAULT_SKILL],
    [{ id: 1204, version: '1.0.4' }, DEFAULT_SKILL],
    [{ id: 1204, version: '1.1.0' }, null],
    [{ id: 1204, version: null }, null],
    [{ id: 1204, version: '0.8', name: 'human_resources' }, null],
    [{ id: 71402, version: '1.1' }, 'ai_ml_engineering/ml_lifecycle/model_versioning'],
    [{ id: 71402, version: '0.8' }, null],
    [{ id: 71402, version: '' }, null],
  ])('reads the number id of %j by its version', (part, expected) => {
    expect(findMatchingSkill([claim(part)])).toBe(expected);
  });

  it('matches the whole set for any alias that the caller names, and only the path itself for another skill', () => {
    const claims = [claim({ name: 'machine_learning/model_optimization' }), claim({ name: 'vision/detection' })];
    expect(findMatchingSkill(claims, 'devops_mlops/model_versioning')).toBe('machine_learning/model_optimization');
    expect(findMatchingSkill(claims, ' Vision/Detection ')).toBe('vision/detection');
    expect(findMatchingSkill(claims, 'vision/segmentation')).toBeNull();
  });
});
