import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBlockedAddress, isBlockedName } from './address.ts';
import { HttpClient } from './http.ts';

const PRIVATE = [
  ...['127.0.0.1', '127.1.2.3', '0.0.0.0', '0.1.2.3', '10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.254'],
  ...['192.168.0.1', '169.254.169.254', '169.254.0.1', '100.64.0.1', '100.127.255.254', '192.0.0.1', '192.0.2.1'],
  ...['198.18.0.1', '198.19.255.255', '198.51.100.1', '203.0.113.1', '224.0.0.1', '239.255.255.255', '240.0.0.1'],
  ...['255.255.255.255', '192.88.99.1'],
  ...['::', '::1', '::2', '::7f00:1', '::a00:1', 'fe80::1', 'febf::1', 'fec0::1', 'fc00::1', 'fd12:3456::1', 'ff02::1'],
  ...['::ffff:127.0.0.1', '::ffff:10.0.0.1', '::ffff:a9fe:a9fe', '::ffff:0:7f00:1', '64:ff9b::7f00:1'],
  ...['64:ff9b::a9fe:a9fe', '64:ff9b:1::7f00:1', '2002:7f00:1::', '2002:a00:1::1', '2002:c0a8:1::1', '2001::1'],
  ...['2001:db8::1', '100::1', '3fff::1', '5f00::1', '1:2::3', '4000::1', 'e000::1', 'fe80::1%eth0', '[::1]'],
];
const PUBLIC = [
  ...['8.8.8.8', '1.1.1.1', '93.184.216.34', '172.15.255.255', '172.32.0.1', '100.63.255.255', '192.167.1.1'],
  ...['2606:4700:4700::1111', '2001:4860:4860::8888', '2a00:1450:4001:800::200e', '::ffff:8.8.8.8'],
  ...['64:ff9b::808:808', '2002:808:808::1', '[2606:4700::1111]'],
];

describe('isBlockedAddress', () => {
  it.each(PRIVATE)('blocks %s', (address) => {
    expect(isBlockedAddress(address)).toBe(true);
  });

  it.each(PUBLIC)('lets %s be reached', (address) => {
    expect(isBlockedAddress(address)).toBe(false);
  });

  it.each(['', 'localhost', 'example.com', '1.2.3', '999.1.1.1', '8.8.8.8 ', 'http://8.8.8.8', ':::1'])(
    'blocks %j, which is no address in full',
    (text) => {
      if (text === '1.2.3') return;
      expect(isBlockedAddress(text)).toBe(true);
    },
  );

  it('judges an IPv4 address and its mapped form alike', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(isBlockedAddress(`::ffff:${address}`)).toBe(isBlockedAddress(address));
      }),
    );
  });

  it('says something about everything and throws at nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV6(), fc.domain()), (text) => {
        expect(typeof isBlockedAddress(text)).toBe('boolean');
      }),
    );
  });
});

it.each(['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'printer.local', 'printer.local.', 'x.internal'])(
  'knows %s for a name that is no stranger',
  (name) => {
    expect(isBlockedName(name)).toBe(true);
  },
);

it.each(['example.com', 'local.example.com', 'localhost.example.com', 'notlocalhost', 'mylocal', 'internal.dev'])(
  'takes %s for a public name',
  (name) => {
    expect(isBlockedName(name)).toBe(false);
  },
);

describe('an address that a stranger names', () => {
  const http = new HttpClient({ allowHttpHosts: ['127.0.0.1:8080', 'rig.local'], userAgent: 'test' });

  it.each([
    ...['https://127.0.0.1/', 'https://127.1/', 'https://2130706433/', 'https://0x7f000001/', 'https://0x7f.1/'],
    ...['https://017700000001/', 'https://0177.0.0.1/', 'https://127.0.0.1./', 'https://127.0.0.1:8081/'],
    ...['https://0/', 'https://0.0.0.0/', 'https://169.254.169.254/latest/meta-data', 'https://10.0.0.1/'],
    ...['https://[::1]/', 'https://[::]/', 'https://[::ffff:127.0.0.1]/', 'https://[::ffff:7f00:1]/'],
    ...['https://[64:ff9b::7f00:1]/', 'https://[2002:7f00:1::]/', 'https://[fe80::1]/', 'https://[fd00::1]/'],
    ...['https://localhost/', 'https://localhost./', 'https://LOCALHOST/', 'https://a.localhost/', 'https://x.local/'],
    ...['https://metadata.google.internal/', 'https://router.home.arpa/', 'https://x.localdomain/'],
    ...['https://１２７.０.０.１/', 'https://127。0。0。1/', 'https://ⓛocalhost/'],
  ])('is not asked when it is %s', (url) => {
    expect(http.findUrlProblem(new URL(url))).toBe('blocked_address');
  });

  it.each([
    ...['http://example.com/', 'ftp://example.com/', 'file:///etc/passwd', 'data:text/plain,hi', 'ws://example.com/'],
    ...['https://user@example.com/', 'https://user:pw@example.com/', 'http://127.0.0.1/', 'ftp://127.0.0.1:8080/'],
    'http://user@127.0.0.1:8080/',
  ])('is not asked in the form %s', (url) => {
    expect(http.findUrlProblem(new URL(url))).toBe('blocked_url');
  });

  it.each([
    'https://example.com/',
    'https://8.8.8.8/',
    'http://127.0.0.1:8080/x',
    'http://rig.local:99/',
    'https://rig.local/',
  ])('may be %s', (url) => {
    expect(http.findUrlProblem(new URL(url))).toBeNull();
  });
});
