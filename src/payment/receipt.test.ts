import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseReceipt } from './receipt.ts';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64');
const tx = `0x${'AB'.repeat(32)}`;
const settled = encode({ success: true, transaction: tx, network: 'eip155:84532', payer: '0x1' });

describe('parseReceipt', () => {
  it('reads the claim of either header', () => {
    const claim = { isSuccess: true, tx: tx.toLowerCase(), untrustedReason: null };
    expect(parseReceipt({ 'payment-response': settled })).toEqual(claim);
    expect(parseReceipt({ 'x-payment-response': settled })).toEqual(claim);
    expect(parseReceipt({ 'payment-response': 'garbage', 'x-payment-response': settled })).toEqual(claim);
  });

  it('reads why a gate refused', () => {
    const refusal = encode({ success: false, errorReason: 'settlement_pending\u202e', transaction: '' });
    expect(parseReceipt({ 'payment-response': refusal })).toEqual({
      isSuccess: false,
      tx: null,
      untrustedReason: 'settlement_pending',
    });
    const required = encode({ x402Version: 2, error: 'invalid_exact_evm_signature', accepts: [] });
    expect(parseReceipt({ 'payment-required': required })).toMatchObject({
      isSuccess: false,
      untrustedReason: 'invalid_exact_evm_signature',
    });
  });

  it.each(['', '0x', tx.slice(0, 65), `${tx}00`, `javascript:${tx}`, 5, null, {}])(
    'names no transaction when it is %j',
    (transaction) => {
      expect(parseReceipt({ 'payment-response': encode({ success: true, transaction }) })).toEqual({
        isSuccess: true,
        tx: null,
        untrustedReason: null,
      });
    },
  );

  it.each(['', 'null', '%%%', encode([]), encode({ success: 'true' }), encode({ success: 1 }), encode({})])(
    'takes %j for no receipt',
    (value) => {
      expect(parseReceipt({ 'payment-response': value })).toBeNull();
    },
  );

  it('says something or nothing about any header, and throws at none', () => {
    const values = fc.oneof(fc.string(), fc.base64String(), fc.jsonValue().map(encode));
    const names = fc.constantFrom('payment-response', 'x-payment-response', 'payment-required', '__proto__');
    fc.assert(
      fc.property(fc.dictionary(names, values), (headers) => {
        const receipt = parseReceipt(headers);
        if (receipt?.tx) expect(receipt.tx).toMatch(/^0x[0-9a-f]{64}$/);
        expect([...(receipt?.untrustedReason ?? '')].length).toBeLessThanOrEqual(200);
      }),
      { numRuns: 2_000 },
    );
  });
});
