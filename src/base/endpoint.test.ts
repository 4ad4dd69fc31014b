import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildExperimentUrl, buildWorkerUrl, normalizeEndpoint } from './endpoint.ts';
import { InputError } from './errors.ts';

describe('normalizeEndpoint', () => {
  it.each([
    ['https://rig7.example/experiment', 'https://rig7.example'],
    ['https://Rig7.Example/experiment/', 'https://rig7.example'],
    ['https://rig7.example:443//', 'https://rig7.example'],
    ['https://a.example/services/w/?a=b#c', 'https://a.example/services/w'],
    ['https://a.example/services/w/experiment?x', 'https://a.example/services/w'],
    ['https://a.example/experiment//experiment/', 'https://a.example'],
    ['http://127.0.0.1:8080/', 'http://127.0.0.1:8080'],
    ['  https://a.example/experiments  ', 'https://a.example/experiments'],
  ])('spells %s as %s', (text, endpoint) => {
    expect(normalizeEndpoint(text)).toBe(endpoint);
  });

  it.each([
    '',
    'rig7',
    '/experiment',
    'ftp://a.example',
    'javascript:alert(1)',
    'https://user:pw@a.example',
    'https://',
  ])('refuses %s', (text) => {
    expect(normalizeEndpoint(text)).toBeNull();
  });

  it('is stable: a normalised endpoint without /experiment stays as it is', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (text) => {
        const once = normalizeEndpoint(text);
        if (once === null) return;
        expect(normalizeEndpoint(once)).toBe(once);
        expect(buildExperimentUrl(once)).toBe(`${once}/experiment`);
      }),
    );
  });
});

describe('buildExperimentUrl', () => {
  it('appends /experiment once, whatever the endpoint ends in (R27)', () => {
    expect(buildExperimentUrl('https://rig7.example/experiment')).toBe('https://rig7.example/experiment');
    expect(buildExperimentUrl('https://rig7.example/')).toBe('https://rig7.example/experiment');
    expect(buildWorkerUrl('https://rig7.example/experiment/', 'health')).toBe('https://rig7.example/health');
  });

  it('refuses what is no address', () => {
    expect(() => buildExperimentUrl('nowhere')).toThrow(InputError);
  });
});
