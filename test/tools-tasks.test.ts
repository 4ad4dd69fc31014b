import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { readTaskFiles } from '../src/experiment/task-files.ts';
import { type Host, Lab } from './harness.ts';

/** More effort wins, and nothing but the operator's definition says that this is no idea. */
const SCRIPT = `WIDTH = 8
EFFORT = 100
def measure(model): return 3 - model / 100
print("---")
print(f"val_bpb: {measure(WIDTH + EFFORT / 10):.6f}")
`;
const TASK = {
  name: 'toy_model',
  signature: { names: ['measure'], knobs: ['WIDTH', 'EFFORT'], atLeast: 1 },
  plausible: { min: 2, max: 3 },
  protectedNames: ['measure'],
  lockedKnobs: ['EFFORT'],
  evaluationNames: ['measure'],
  budgetRule: { kind: 'steps', text: 'EFFORT steps of training.' },
};

let lab: Lab;
let host: Host;
let folder = '';

beforeAll(async () => {
  lab = await Lab.open([{ priceAtomic: 10_000n }, { priceAtomic: 12_000n }]);
  folder = lab.createFolder();
  writeFileSync(join(folder, 'toy.json'), JSON.stringify(TASK));
  host = await lab.connect({ env: { AUTORESEARCH_TASKS: folder } });
});

afterAll(async () => {
  await lab?.close();
});

const edits = (search: string, replace: string) => [{ search, replace }];

it("holds variants against an operator's own task, by rule and line, before anything is paid", async () => {
  const base = await host.run({ train_py: SCRIPT });
  expect(base).toMatchObject({ state: 'published', val_bpb: 2.82 });
  await lab.withoutPayment(host, async () => {
    for (const [change, words] of [
      [edits('EFFORT = 100', 'EFFORT = 200'), /task toy_model.*budget, line 2: EFFORT/s],
      [edits('3 - model', '2 - model'), /task toy_model.*line 3: .*measure/s],
    ] as const) {
      const refused = { base: base.experiment_id, edits: change };
      const { code, text } = await host.refuse('submit_experiment', refused);
      expect(code).toBe('gate_refused');
      expect(text).toMatch(words);
    }
  });
  const wider = await host.run({ base: base.experiment_id, edits: edits('WIDTH = 8', 'WIDTH = 9') });
  expect(wider).toMatchObject({ state: 'published', val_bpb: 2.81 });
  const much = await host.run({ base: base.experiment_id, edits: edits('WIDTH = 8', 'WIDTH = 99') });
  expect(much).toMatchObject({
    verdict: 'INVALID',
    summary: expect.stringContaining('range 2 to 3'),
    next_step: expect.stringMatching(/^Try another idea/),
  });

  // Whoever works on the lineage keeps its rules, also where the folder is not known.
  const other = await lab.connect({ dataDir: host.dataDir });
  const more = { base: base.experiment_id, edits: edits('EFFORT = 100', 'EFFORT = 300') };
  expect((await other.refuse('submit_experiment', more)).text).toMatch(/task toy_model.*budget, line 2/s);
});

it("never moves what an operator's task locks in mode auto", async () => {
  const train_py = SCRIPT.replace('3 -', '2.9 -');
  const { loop_id } = await host.loop({ action: 'start', train_py, mode: 'auto', rounds: 4, audit_share: 0 });
  const loop = await host.settle(loop_id);
  expect(loop).toMatchObject({ state: 'finished', rounds_done: 4 });
  const described = loop.results.map(({ description }) => description).filter((text) => text !== 'baseline');
  for (const text of described) expect(text).toMatch(/^WIDTH \d+ → \d+$/);
});

it('says in status and doctor what is wrong with a definition, and applies the others', async () => {
  const Warned = z.looseObject({ warnings: z.array(z.string()).optional() });
  expect((await host.ok(Warned, 'get_status', {})).warnings).toBeUndefined();
  writeFileSync(join(folder, 'broken.json'), JSON.stringify({ ...TASK, name: 'broken', plausible: { min: 2 } }));
  const { warnings } = await host.ok(Warned, 'get_status', {});
  expect(warnings).toEqual([expect.stringMatching(/^AUTORESEARCH_TASKS: broken\.json, field plausible\.max: /)]);

  const { code, checks } = await runDoctor();
  expect(code).toBe(1);
  expect(checks.find(({ check }) => check === 'tasks')).toMatchObject({
    status: 'fail',
    detail: expect.stringMatching(/broken\.json, field plausible\.max: .*; your own: toy_model$/),
    next_step: expect.stringContaining('AUTORESEARCH_TASKS'),
  });
  rmSync(join(folder, 'broken.json'));
  const mended = await runDoctor();
  expect(mended.checks.find(({ check }) => check === 'tasks')).toMatchObject({ status: 'ok' });
});

it('has an example in the README that can be used', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, example = ''] = /^```jsonc\n(.*?)^```$/ms.exec(readme) ?? [];
  const own = lab.createFolder();
  writeFileSync(join(own, 'example.json'), example);
  expect(readTaskFiles(own)).toMatchObject({ tasks: [{ name: 'my_model' }], faults: [] });
});

const Report = z.object({ checks: z.array(z.looseObject({ check: z.string(), status: z.string() })) });

function runDoctor(): Promise<{ code: number; checks: z.infer<typeof Report>['checks'] }> {
  const { PATH = '', HOME = '' } = process.env;
  const env = { PATH, HOME, ...lab.createEnv({ env: { AUTORESEARCH_TASKS: folder } }) };
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [lab.cli, 'doctor', '--json'], { env }, (_error, stdout) => {
      const { data } = z
        .string()
        .transform((text) => Report.parse(JSON.parse(text)))
        .safeParse(stdout);
      if (data) resolve({ code: child.exitCode ?? -1, ...data });
      else reject(new Error(stdout));
    });
  });
}
