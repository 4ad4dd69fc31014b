import { describe, expect, it } from 'vitest';
import { partFromSeed, withSeed } from './seed.ts';

const SCRIPT = 'import torch\ntorch.manual_seed(42)\ntorch.cuda.manual_seed(42)\nDEPTH = 8\n';

describe('a seed that is given to a function', () => {
  it('is known, and parts runs of other seeds from other ideas', () => {
    const other = { source: SCRIPT.replaceAll('42', '7'), config: {} };
    const { family, seed } = partFromSeed({ source: SCRIPT, config: {} }, 'manual_seed');
    expect(seed).toBe('42');
    expect(partFromSeed(other, 'manual_seed')).toEqual({ family, seed: '7' });
    const deeper = { source: SCRIPT.replace('DEPTH = 8', 'DEPTH = 9'), config: {} };
    expect(partFromSeed(deeper, 'manual_seed').family).not.toBe(family);
  });

  it('is set in every call', () => {
    const source = withSeed({ source: SCRIPT, config: {} }, 'manual_seed', 43)?.source;
    expect(source).toBe(SCRIPT.replaceAll('42', '43'));
  });

  it.each([
    ['two seeds', SCRIPT.replace('cuda.manual_seed(42)', 'cuda.manual_seed(1)')],
    ['a seed from elsewhere', SCRIPT.replaceAll('42', 'SEED')],
    ['another function', SCRIPT.replaceAll('manual_seed', 'my_manual_seed')],
  ])('is none where there are %s', (_what, source) => {
    expect(partFromSeed({ source, config: {} }, 'manual_seed').seed).toBeNull();
    expect(withSeed({ source, config: {} }, 'manual_seed', 43)).toBeNull();
  });
});

it('is still known as a constant', () => {
  const program = { source: 'SEED = 42  # luck\n', config: {} };
  expect(partFromSeed(program, 'SEED').seed).toBe('42');
  expect(withSeed(program, 'SEED', 1)?.source).toBe('SEED = 1  # luck\n');
});
