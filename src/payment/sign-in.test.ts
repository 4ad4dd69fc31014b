import fc from 'fast-check';
import { recoverMessageAddress } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { parseSiweMessage } from 'viem/siwe';
import { describe, expect, it } from 'vitest';
import { GuardError, type KeyHolder, SigningGuard } from './guard.ts';
import { buildSignInText, createSignInNonce, repeatsSignIn, type SignInText } from './sign-in.ts';

// Public development accounts of anvil: test chains only.
const account = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');
const other = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80');
const NOW_MS = Date.UTC(2026, 10, 26, 4, 0, 0);
const NONCE = '0123456789abcdef0123456789abcdef';
const request = { url: 'https://w.example/services/w/jobs', payer: account.address, chainId: 84_532 };

/** A guard over a key that keeps the texts which it was asked to sign. */
function createGuard(signText: KeyHolder['signText'] = (text) => account.signMessage({ message: text })) {
  const texts: SignInText[] = [];
  const clock = { atMs: NOW_MS, nowMs: () => clock.atMs };
  const holder: KeyHolder = {
    address: account.address,
    signTransfer: () => expect.unreachable('a sign-in is no transfer'),
    signText: (text) => {
      texts.push(text);
      return signText(text);
    },
    signFeedback: () => expect.unreachable('a sign-in is no feedback'),
  };
  const limits = { maxPriceAtomic: 250_000n, maxValiditySeconds: 1_800 };
  return { guard: new SigningGuard(holder, limits, clock), texts, clock };
}

/** The two parts of a credential as a gate reads them (worker-api.md section 6). */
function read(credential: string): { message: string; signature: `0x${string}` } {
  const [, message = '', proof = ''] = /^SIWX ([A-Za-z0-9+/=]+)\.([A-Za-z0-9+/=]+)$/.exec(credential) ?? [];
  const signature = Buffer.from(proof, 'base64').toString('utf8');
  expect(signature).toMatch(/^0x[0-9a-f]{130}$/);
  return { message: Buffer.from(message, 'base64').toString('utf8'), signature: `0x${signature.slice(2)}` };
}

describe('the text of a sign-in', () => {
  it('has exactly these lines', () => {
    expect(buildSignInText(request, NONCE, NOW_MS)?.split('\n')).toEqual([
      'w.example wants you to sign in with your Ethereum account:',
      '0x70997970C51812dc3A010C7d01b50e0d17dc79C8',
      '',
      'Read the jobs that this account has paid for. This moves no money.',
      '',
      'URI: https://w.example/services/w/jobs',
      'Version: 1',
      'Chain ID: 84532',
      `Nonce: ${NONCE}`,
      'Issued At: 2026-11-26T04:00:00.000Z',
      'Expiration Time: 2026-11-26T04:10:00.000Z',
    ]);
  });

  it('names the port where the host has one, and neither query nor fragment', () => {
    const text = buildSignInText({ ...request, url: 'http://127.0.0.1:8080/jobs?a=b#c' }, NONCE, NOW_MS) ?? '';
    expect(text).toMatch(/^127\.0\.0\.1:8080 wants you/);
    expect(text.split('\n')[5]).toBe('URI: http://127.0.0.1:8080/jobs');
  });

  it.each([
    ['no address at all', 'jobs'],
    ['another scheme', 'ftp://w.example/jobs'],
    ['credentials in the address', 'https://user:pass@w.example/jobs'],
    ['a host that reads like bytes in hex', 'https://0xabcd.example/jobs'],
    ['a host of one word', 'http://worker:8080/jobs'],
    ['a host in brackets', 'https://[::1]/jobs'],
  ])('is not made for %s', (_what, url) => {
    expect(buildSignInText({ ...request, url }, NONCE, NOW_MS)).toBeNull();
  });

  it('has eleven lines and names the host of the address, whatever the address is', () => {
    const urls = fc.oneof(
      fc.webUrl({ withFragments: true, withQueryParameters: true }),
      fc.string({ unit: 'binary' }).map((tail) => `https://w.example/${tail}`),
    );
    fc.assert(
      fc.property(urls, (url) => {
        const text = buildSignInText({ ...request, url }, NONCE, NOW_MS);
        if (text === null) return;
        expect(text.split(/[\r\n]/)).toHaveLength(11);
        expect(parseSiweMessage(text)).toMatchObject({ domain: new URL(url).host, nonce: NONCE });
      }),
    );
  });

  it('has a nonce that no other has', () => {
    const nonces = new Set(Array.from({ length: 1_000 }, createSignInNonce));
    expect(nonces.size).toBe(1_000);
    for (const nonce of nonces) expect(nonce).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe('the guard', () => {
  it('signs in with a text of its own, which recovers to the wallet that paid', async () => {
    const { guard, texts } = createGuard();
    const { message, signature } = read(await guard.signIn(request));
    expect(texts).toEqual([message]);
    expect(await recoverMessageAddress({ message, signature })).toBe(account.address);
    const { issuedAt, address, uri } = parseSiweMessage(message);
    expect([issuedAt?.getTime(), address, uri]).toEqual([NOW_MS, account.address, request.url]);
  });

  it('uses no nonce twice', async () => {
    const { guard, texts } = createGuard();
    for (let calls = 0; calls < 20; calls += 1) await guard.signIn(request);
    expect(new Set(texts.map((text) => parseSiweMessage(text).nonce)).size).toBe(20);
  });

  it.each<[string, Partial<typeof request>, string]>([
    ['a wallet that did not pay', { payer: other.address }, 'wrong_payer'],
    ['a host that reads like bytes in hex', { url: 'https://0xabcd.example/jobs' }, 'no_sign_in_text'],
    ['credentials in the address', { url: 'https://a:b@w.example/jobs' }, 'no_sign_in_text'],
  ])('signs nothing for %s', async (_what, change, code) => {
    const { guard, texts } = createGuard();
    await expect(guard.signIn({ ...request, ...change })).rejects.toMatchObject({ code });
    expect(texts).toEqual([]);
  });

  it.each<[string, KeyHolder['signText']]>([
    ['of another key', (text) => other.signMessage({ message: text })],
    ['of another text', (text) => account.signMessage({ message: `${text} ` })],
    [
      'over the bare text, without the prefix',
      async (text) => account.sign({ hash: `0x${Buffer.from(text).toString('hex').slice(0, 64)}` }),
    ],
    ['that is none', async () => '0x12'],
  ])('hands out no signature %s', async (_what, signText) => {
    const error: unknown = await createGuard(signText)
      .guard.signIn(request)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'bad_signature' });
    expect(error).toBeInstanceOf(GuardError);
  });

  it('hands out none that took too long', async () => {
    const { guard, clock } = createGuard((text) => {
      clock.atMs += 301_000;
      return account.signMessage({ message: text });
    });
    await expect(guard.signIn(request)).rejects.toMatchObject({ code: 'validity' });
  });
});

it('an answer that repeats the signature is recognised, in either spelling', async () => {
  const credential = await createGuard().guard.signIn(request);
  const { signature } = read(credential);
  const echoes = [credential, signature, signature.slice(2).toUpperCase(), credential.split('.')[1] ?? ''];
  for (const echo of echoes) expect(repeatsSignIn(Buffer.from(`{"note":"${echo}"}`), credential)).toBe(true);
  expect(repeatsSignIn(Buffer.from('{"note":"SIWX"}'), credential)).toBe(false);
});
