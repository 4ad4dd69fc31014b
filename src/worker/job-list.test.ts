import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildListedJob, namesExperiment, parseJobList, readJobId, type WantedJob } from './job-list.ts';

const WALLET = '0x70997970C51812dc3A010C7d01b50e0d17dc79C8';
const SENT_MS = Date.UTC(2026, 10, 26, 4, 0, 0);
const wanted: WantedJob = { wallet: WALLET, fromMs: SENT_MS - 120_000, untilMs: SENT_MS + 600_000 };
const job = (change: Record<string, unknown> = {}) => ({
  jobId: 'a'.repeat(32),
  state: 'complete',
  path: '/experiment',
  createdAt: '2026-11-26T04:00:00Z',
  ...change,
});

function parse(document: unknown): ReturnType<typeof parseJobList> {
  return parseJobList(new TextEncoder().encode(JSON.stringify(document)), wanted);
}

describe('the list of jobs', () => {
  it('gives the jobs of our path and time, newest first, each once', () => {
    const jobs = [
      job({ jobId: 'old', createdAt: '2026-11-26T04:00:01+00:00' }),
      job({ jobId: 'new', createdAt: '2026-11-26T05:01:00+01:00', state: 'running', extra: 1 }),
      job({ jobId: 'old', createdAt: '2026-11-26T04:00:01Z' }),
      job({ jobId: 'prefixed', path: '/services/w/experiment' }),
    ];
    expect(parse({ wallet: WALLET.toLowerCase(), jobs })).toEqual([
      { jobId: 'new', state: 'running', createdAtMs: SENT_MS + 60_000 },
      { jobId: 'old', state: 'complete', createdAtMs: SENT_MS + 1_000 },
      { jobId: 'prefixed', state: 'complete', createdAtMs: SENT_MS },
    ]);
  });

  it.each<[string, Record<string, unknown>]>([
    ['of before', { createdAt: '2026-11-26T03:57:59Z' }],
    ['of later', { createdAt: '2026-11-26T04:10:01Z' }],
    ['of no time', { createdAt: 'soon' }],
    ['of another path', { path: '/experiments' }],
    ['with a state of its own', { state: 'paused' }],
    ['with an id that climbs', { jobId: '..' }],
    ['with an id that is a path', { jobId: 'a/b' }],
    ['with an id that is encoded', { jobId: '%2e%2e' }],
    ['with an id that ends a line', { jobId: 'a\n' }],
    ['with no id', { jobId: '' }],
    ['with an id that is too long', { jobId: 'a'.repeat(129) }],
  ])('leaves out a job %s', (_what, change) => {
    expect(parse({ wallet: WALLET, jobs: [job(change)] })).toEqual([]);
  });

  it('is read no further than a broker lists', () => {
    const jobs = Array.from({ length: 10_000 }, (_, index) => job({ jobId: `job-${index}` }));
    expect(parse({ wallet: WALLET, jobs })).toHaveLength(100);
  });

  it.each<[string, unknown]>([
    ['another wallet', { wallet: '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC', jobs: [job()] }],
    ['no wallet', { jobs: [job()] }],
    ['no jobs', { wallet: WALLET }],
    ['a list alone', [job()]],
    ['nothing', null],
  ])('is none of ours with %s', (_what, document) => {
    expect(parse(document)).toBeNull();
  });

  it('makes addresses below the endpoint only, whatever it holds', () => {
    const rows = fc.record({
      jobId: fc.oneof(fc.string({ unit: 'binary' }), fc.webPath(), fc.stringMatching(/^[\w.%/-]+$/)),
    });
    fc.assert(
      fc.property(fc.array(rows), (changes) => {
        for (const { jobId } of parse({ wallet: WALLET, jobs: changes.map(job) }) ?? []) {
          const { statusUrl, resultUrl, token } = buildListedJob('https://w.example/services/w', jobId, SENT_MS);
          expect(statusUrl).toBe(`https://w.example/services/w/jobs/${jobId}`);
          expect([new URL(resultUrl).href, token]).toEqual([`${statusUrl}/result`, null]);
          expect(readJobId(statusUrl)).toBe(jobId);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

it('a result names an experiment only in so many words', () => {
  const encode = (document: unknown) => new TextEncoder().encode(JSON.stringify(document));
  expect(namesExperiment(encode({ experiment_id: 'exp-a1' }), 'exp-a1')).toBe(true);
  for (const document of [{}, { experiment_id: 'exp-a2' }, { experiment_id: ['exp-a1'] }, ['exp-a1'], 'exp-a1', null])
    expect(namesExperiment(encode(document), 'exp-a1')).toBe(false);
});
