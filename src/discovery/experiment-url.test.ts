import { describe, expect, it } from 'vitest';
import { HttpClient } from '../net/http.ts';
import { chooseEndpoint, findEndpointProblem, isBlockedByOperator } from './experiment-url.ts';

const service = (name: string, endpoint: string | null) => ({ name, endpoint });
const choose = (services: readonly ReturnType<typeof service>[], x402: boolean | null = null) => {
  const choice = chooseEndpoint({ services, x402 });
  return choice.ok ? choice.endpoint : choice.reason;
};

describe('chooseEndpoint', () => {
  const web = service('web', 'https://web.example');
  const offer = service('a2a', 'https://a.example/services/w?x#y');
  const experiment = service('mcp', 'https://m.example/x/experiment/');

  it('prefers /experiment, then /services/, then web', () => {
    expect(choose([web, offer, experiment])).toBe('https://m.example/x');
    expect(choose([web, offer])).toBe('https://a.example/services/w');
    expect(choose([service('a2a', 'https://a.example'), web])).toBe('https://web.example');
  });

  it('takes any other https address only of an agent that says it takes x402', () => {
    const others = [
      service('oasf', 'https://github.com/agntcy/oasf/'),
      service('ens', 'x.eth'),
      service('email', 'mailto:a@b.example'),
      service('a2a', 'http://plain.example'),
      service('a2a', 'https://a.example/card'),
    ];
    expect(choose(others, true)).toBe('https://a.example/card');
    expect(choose(others, null)).toBe('no_endpoint');
    expect(choose(others, false)).toBe('no_endpoint');
  });

  it('passes over what is no address, and names templates only when nothing else is left', () => {
    const template = service('web', 'https://p.example/{agentId}/experiment');
    expect(choose([template, web])).toBe('https://web.example');
    expect(choose([template])).toBe('template_endpoint');
    expect(choose([service('web', 'https://p.example/%7Bid%7D')])).toBe('template_endpoint');
    expect(
      choose([service('web', 'x.eth'), service('web', null), service('web', `https://${'a'.repeat(300)}.example`)]),
    ).toBe('no_endpoint');
  });
});

describe('findEndpointProblem', () => {
  const http = new HttpClient({ allowHttpHosts: ['127.0.0.1:8080'], userAgent: 'x' });
  it.each([
    ['https://gpu.example', null],
    ['http://127.0.0.1:8080', null],
    ['http://127.0.0.1:8081', 'blocked_address'],
    ['http://169.254.169.254/latest', 'blocked_address'],
    ['https://2130706433', 'blocked_address'],
    ['https://[::ffff:10.0.0.1]', 'blocked_address'],
    ['https://gpu.internal', 'blocked_address'],
    ['https://localhost', 'blocked_address'],
    ['https://api.example.com', 'placeholder_endpoint'],
    ['http://gpu.example', 'blocked_url'],
  ])('of %s is %s', (endpoint, problem) => {
    expect(findEndpointProblem(new URL(endpoint).href, http)).toBe(problem);
  });
});

describe('isBlockedByOperator', () => {
  it.each([
    ['https://bad.example', true],
    ['https://bad.example/services/w', true],
    ['http://bad.example/x', true],
    ['https://bad.example.org', false],
    ['https://good.example/one', true],
    ['https://good.example/oneself', false],
    ['https://good.example', false],
  ])('of %s is %s', (endpoint, isBlocked) => {
    expect(isBlockedByOperator(endpoint, ['https://bad.example/', 'https://good.example/one/experiment'])).toBe(
      isBlocked,
    );
  });
});
