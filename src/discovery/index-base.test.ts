import { describe, expect, it } from 'vitest';
import { buildDetailUrl, buildIpfsFetchUrl, buildListUrl, mayFollowIndex, parseIndexBase } from './index-base.ts';

describe('parseIndexBase', () => {
  it.each([
    ['https://x.example', 'https://x.example/api/v1/public', 'public'],
    ['https://x.example/', 'https://x.example/api/v1/public', 'public'],
    ['https://x.example/api/v1/public/', 'https://x.example/api/v1/public', 'public'],
    ['https://x.example/api/v1', 'https://x.example/api/v1', 'internal'],
    ['http://127.0.0.1:9/indexer?x', 'http://127.0.0.1:9/indexer/api/v1/public', 'public'],
  ])('completes %s', (text, url, family) => {
    expect(parseIndexBase(text)).toMatchObject({ url, family, isPublicService: false });
  });

  it('knows the public service by its domain, not by a name that ends alike', () => {
    expect(parseIndexBase('https://www.8004scan.io').isPublicService).toBe(true);
    expect(parseIndexBase('https://not8004scan.io').isPublicService).toBe(false);
  });
});

describe('the copy of IPFS documents', () => {
  it.each(['https://www.8004scan.io', 'https://www.8004scan.io/api/v1'])('is that of the service: %s', (text) => {
    const base = parseIndexBase(text);
    expect(buildIpfsFetchUrl(base, 'bafyx/a%20b.json')?.href).toBe(
      'https://www.8004scan.io/api/v1/ipfs/fetch?cid=bafyx%2Fa+b.json',
    );
    expect(buildIpfsFetchUrl(base, 'bafyx/%ff')?.searchParams.get('cid')).toBe('bafyx/%ff');
  });

  it('is not asked of the index of somebody else', () => {
    expect(buildIpfsFetchUrl(parseIndexBase('https://index.example'), 'bafyx')).toBeNull();
  });
});

describe('the addresses', () => {
  const agent = { chainId: 84532, registry: '0x', agentId: '0' };
  const query = { search: 'a/b', chainId: 8453, limit: 20, page: 2 };

  it('are those of the public family', () => {
    const base = parseIndexBase('https://www.8004scan.io');
    expect(
      buildListUrl(base, { search: 'devops_mlops/model_versioning', chainId: null, limit: 20, page: 1 }).href,
    ).toBe(
      'https://www.8004scan.io/api/v1/public/agents?protocol=OASF&search=devops_mlops%2Fmodel_versioning&limit=20',
    );
    expect(buildListUrl(base, query).search).toBe('?protocol=OASF&search=a%2Fb&chainId=8453&limit=20&page=2');
    expect(buildDetailUrl(base, agent).pathname).toBe('/api/v1/public/agents/84532/0');
  });

  it('never mix the names of both families', () => {
    const base = parseIndexBase('https://api.8004scan.io/api/v1');
    expect(buildListUrl(base, query).search).toBe(
      '?supported_protocol=OASF&search=a%2Fb&chain_id=8453&limit=20&offset=20',
    );
  });
});

describe('mayFollowIndex', () => {
  const service = parseIndexBase('https://www.8004scan.io');
  const own = parseIndexBase('http://127.0.0.1:8080');
  it.each([
    [service, 'https://8004scan.io/api/v1/public/agents', true],
    [service, 'https://api.8004scan.io/x', true],
    [service, 'http://8004scan.io/x', false],
    [service, 'https://8004scan.io:8443/x', false],
    [service, 'https://8004scan.io.evil.example/x', false],
    [service, 'https://evil8004scan.io/x', false],
    [own, 'http://127.0.0.1:8080/other', true],
    [own, 'http://127.0.0.1:8081/x', false],
    [own, 'https://8004scan.io/x', false],
  ])('from %o to %s: %s', (base, to, isAllowed) => {
    expect(mayFollowIndex(base, new URL(base.url), new URL(to))).toBe(isAllowed);
  });
});
