import { describe, expect, it } from 'vitest';
import { buildGatewayUrl, DEFAULT_IPFS_GATEWAYS, parseAgentUri } from './agent-uri.ts';

const json = '{"name":"ü"}';
const value = { name: 'ü' };
const base64 = Buffer.from(json).toString('base64');
const base64url = Buffer.from('{"a":"~~~???"}').toString('base64url');

describe('parseAgentUri', () => {
  it.each([
    ['base64', `data:application/json;base64,${base64}`, value],
    ['a charset', `data:application/json;charset=utf-8;base64,${base64}`, value],
    ['no media type', `data:;base64,${base64}`, value],
    ['any letter case', `DATA:text/plain;BASE64,${base64}`, value],
    ['base64url letters', `data:;base64,${base64url}`, { a: '~~~???' }],
    ['missing padding', `data:;base64,${base64.replace(/=+$/, '')}`, value],
    ['percent-encoded padding', `data:;base64,${base64.replaceAll('=', '%3D')}`, value],
    ['white space', `data:;base64,${base64.slice(0, 4)}\n ${base64.slice(4)}`, value],
    ['plain JSON that claims base64', `data:application/json;base64,${json}`, value],
    ['percent-encoding', `data:application/json,${encodeURIComponent(json)}`, value],
    ['percent-encoding that claims base64', `data:;base64,${encodeURIComponent(json)}`, value],
    ['raw JSON', `data:application/json;utf8,${json}`, value],
    ['raw JSON with a percent sign', 'data:,{"a":"50%"}', { a: '50%' }],
    ['a byte order mark', `data:;base64,${Buffer.from(`\ufeff${json}`).toString('base64')}`, value],
    ['no scheme at all', ` ${json}`, value],
  ])('reads data with %s', (_what, uri, expected) => {
    expect(parseAgentUri(uri)).toEqual({ kind: 'inline', result: { ok: true, value: expected } });
  });

  it.each([
    ['broken base64', 'data:;base64,!!!!', 'bad_body'],
    ['no comma', 'data:application/json;base64', 'bad_body'],
    ['no JSON', 'data:,hello', 'bad_body'],
    ['bytes that are not UTF-8', 'data:;base64,/////w==', 'bad_encoding'],
    ['percent-encoded bytes that are not UTF-8', 'data:,%ff%fe', 'bad_encoding'],
    ['too much', `data:;base64,${'A'.repeat(400_000)}`, 'too_large'],
    ['far too much', `{${' '.repeat(800_000)}}`, 'too_large'],
  ])('refuses data with %s', (_what, uri, reason) => {
    expect(parseAgentUri(uri)).toEqual({ kind: 'inline', result: { ok: false, reason } });
  });

  it.each([
    ['', 'no_uri'],
    ['  ', 'no_uri'],
    ['file:///etc/passwd', 'unsupported_uri'],
    ['ftp://a.example', 'unsupported_uri'],
    ['ar://x', 'unsupported_uri'],
    ['javascript:alert(1)', 'unsupported_uri'],
    ['/relative', 'unsupported_uri'],
    ['https://', 'unsupported_uri'],
    ['ipfs://', 'unsupported_uri'],
    ['ipfs://QmX/../../secret', 'unsupported_uri'],
    [`https://a.example/${'x'.repeat(5_000)}`, 'unsupported_uri'],
  ])('refuses %s', (uri, reason) => {
    expect(parseAgentUri(uri)).toEqual({ kind: 'unusable', reason });
  });

  const cid = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi';
  it.each([
    [`ipfs://${cid}`, cid],
    [`ipfs://ipfs/${cid}/a b.json?x#y`, `${cid}/a%20b.json`],
    [cid, cid],
    [
      `QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG/card%20x.json`,
      `QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG/card%20x.json`,
    ],
  ])('reads the IPFS path of %s', (uri, path) => {
    expect(parseAgentUri(uri)).toEqual({ kind: 'ipfs', path });
  });

  it.each([
    ['https://a.example/card.json', 'https://a.example/card.json'],
    [' HTTPS://A.example:443/x y ', 'https://a.example/x%20y'],
    // Only the operator's own hosts may be asked so; that is decided when it is fetched.
    ['http://rig.lan/card.json', 'http://rig.lan/card.json'],
  ])('reads the address %s', (uri, href) => {
    expect(parseAgentUri(uri)).toEqual({ kind: 'web', url: new URL(href) });
  });

  it.each([
    [262_144, { ok: true }],
    [262_145, { ok: false, reason: 'too_large' }],
  ])('counts the %d bytes of inline data after decoding', (size, expected) => {
    const text = `{"a":"${'x'.repeat(size - 8)}"}`;
    for (const uri of [text, `data:,${text}`, `data:;base64,${Buffer.from(text).toString('base64')}`])
      expect(parseAgentUri(uri)).toMatchObject({ kind: 'inline', result: expected });
  });

  it('asks the public gateways in the order of the protocol', () => {
    expect(DEFAULT_IPFS_GATEWAYS.map((gateway) => new URL(gateway).host)).toEqual([
      'gateway.pinata.cloud',
      'ipfs.io',
      'dweb.link',
    ]);
  });

  it('writes gateway addresses with /ipfs once', () => {
    expect(buildGatewayUrl('https://ipfs.io', 'x')).toBe('https://ipfs.io/ipfs/x');
    expect(buildGatewayUrl('https://ipfs.io/ipfs/', 'x')).toBe('https://ipfs.io/ipfs/x');
  });
});
