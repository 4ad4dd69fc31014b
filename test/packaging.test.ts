import { execFile } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import { access, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import * as z from 'zod';
import { TOOLS } from '../tools/catalog.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

const Manifest = z.object({
  name: z.string(),
  version: z.string(),
  bin: z.record(z.string(), z.string()),
  dependencies: z.record(z.string(), z.string()),
  engines: z.object({ node: z.string() }),
});
const Server = z.object({
  command: z.enum(['npx', 'node']),
  args: z.array(z.string()),
  env: z.record(z.string(), z.string()),
});
const Servers = z.object({ 'autoresearch-coordinator': Server });
const HostConfig = z.union([
  z.object({ mcpServers: Servers }),
  z.object({ mcp: z.object({ servers: Servers }) }).transform(({ mcp }) => ({ mcpServers: mcp.servers })),
]);

const readText = (path: string) => readFile(join(root, path), 'utf8');
const readManifest = async () => Manifest.parse(JSON.parse(await readText('package.json')));

/** The text below a heading, up to the next one of its level or above. */
function sectionOf(markdown: string, heading: string): string {
  const [marks = ''] = heading.split(' ');
  const lines = markdown.split('\n');
  const from = lines.indexOf(heading);
  expect(from, `the heading ${heading}`).toBeGreaterThanOrEqual(0);
  const rest = lines.slice(from + 1);
  const to = rest.findIndex((line) => /^#{1,6} /.test(line) && line.indexOf(' ') <= marks.length);
  return rest.slice(0, to < 0 ? rest.length : to).join('\n');
}

function codeBlocks(markdown: string, language: string): string[] {
  return [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, tag, text]) =>
    tag === language && text !== undefined ? [text] : [],
  );
}

/** The code in the first column of a section's tables. */
function firstColumn(section: string): string[] {
  return [...section.matchAll(/^\| `([^`]+)`/gm)].flatMap(([, cell]) => cell ?? []);
}

/** Every file of the project, without what is installed or built. */
async function listFiles(folder = root): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found = await Promise.all(
    entries.map(async (entry) => {
      if (['node_modules', 'dist', 'coverage', '.git'].includes(entry.name)) return [];
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return listFiles(path);
      return entry.isFile() ? [relative(root, path)] : [];
    }),
  );
  return found.flat();
}

let readme = '';
beforeAll(async () => {
  readme = await readText('README.md');
});

describe('the package', () => {
  test('says the same version everywhere', async () => {
    const { version } = await readManifest();
    const { stdout } = await run(process.execPath, [inject('cli'), '--version']);
    expect(stdout.trim()).toBe(version);
    const lock = z
      .object({ version: z.string(), packages: z.object({ '': z.object({ version: z.string() }) }) })
      .parse(JSON.parse(await readText('package-lock.json')));
    expect([lock.version, lock.packages[''].version]).toEqual([version, version]);
    expect(await readText('CHANGELOG.md')).toContain(`## ${version}\n`);
  });

  test('publishes the built program and its papers, nothing else', async () => {
    if (!existsSync(join(root, 'dist', 'cli.js'))) await run(process.execPath, ['.ci/build.mjs'], { cwd: root });
    const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root });
    const Packed = z.tuple([z.object({ files: z.array(z.object({ path: z.string() })), size: z.number() })]);
    const [{ files, size }] = Packed.parse(JSON.parse(stdout));
    const paths = files.map(({ path }) => path);
    expect(paths.filter((path) => !path.startsWith('dist/')).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'mcp.json',
      'package.json',
    ]);
    expect(paths).toContain('dist/cli.js');
    expect(paths).toContain('dist/THIRD-PARTY-LICENSES.txt');
    expect(paths).toContain('dist/examples/train_stdlib.py');
    expect(paths.filter((path) => !/^dist\/(chunks\/)?[\w.-]+\.js$/.test(path) && /\.[jt]s$/.test(path))).toEqual([]);
    expect(size).toBeLessThan(3_000_000);
  });

  test('pins exactly what handles money and what the store is made of', async () => {
    const { dependencies } = await readManifest();
    for (const name of ['@x402/core', '@x402/evm', 'kysely', 'libsql']) expect(dependencies[name]).toMatch(/^\d/);
    expect(Object.keys(dependencies)).toEqual(
      expect.arrayContaining(['@modelcontextprotocol/sdk', 'pino', 'undici', 'viem', 'zod']),
    );
  });

  test('has a lock file that names no place to download from', async () => {
    expect(await readText('package-lock.json')).not.toMatch(/"resolved"/);
  });

  test('has a licence, and a CI script that can be executed', async () => {
    expect(await readText('LICENSE')).toMatch(/^MIT License\n/);
    await access(join(root, '.ci', 'run'), constants.X_OK);
  });

  test('has an mcp.json that starts it and holds no secret', async () => {
    const config = z.strictObject({ mcpServers: Servers }).parse(JSON.parse(await readText('mcp.json')));
    const { name } = await readManifest();
    expect(config.mcpServers['autoresearch-coordinator']).toMatchObject({ command: 'npx', args: ['-y', name] });
    expect(Object.keys(config.mcpServers['autoresearch-coordinator'].env).join()).not.toMatch(/KEY|TOKEN|PASSWORD/);
  });
});

describe('the README', () => {
  test('starts with two commands that need nothing before them', () => {
    const blocks = codeBlocks(sectionOf(readme, '## Quick start'), 'sh');
    expect(blocks).toHaveLength(1);
    expect(sectionOf(readme, '## Quick start').match(/^```/gm)).toHaveLength(2);
    const lines = blocks.flatMap((block) => block.trimEnd().split('\n'));
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toMatch(/^npm ci && npm (run demo|test)$/);
  });

  test('has snippets for hosts that parse and name the program', async () => {
    const { name } = await readManifest();
    const snippets = codeBlocks(readme, 'json').map((block) => HostConfig.parse(JSON.parse(block)));
    expect(snippets.length).toBeGreaterThanOrEqual(3);
    for (const { mcpServers } of snippets) {
      const { command, args, env } = mcpServers['autoresearch-coordinator'];
      expect(args).toEqual(command === 'npx' ? ['-y', name] : ['/absolute/path/dist/cli.js']);
      for (const [variable, value] of Object.entries(env)) {
        expect(listVariables(readme)).toContain(variable);
        if (/DIR|FILE/.test(variable)) expect(value).toMatch(/^\/absolute\//);
      }
    }
    for (const line of codeBlocks(readme, 'sh').join('\n').split('\n'))
      if (line.startsWith('claude mcp add')) expect(line).toMatch(/ -- npx -y autoresearch-coordinator$/);
  });

  test('lists exactly the variables that the configuration reads', async () => {
    const source = await readText('src/config.ts');
    const read = [...source.matchAll(/\bread\('([A-Z][A-Z0-9_]+)'\)/g)].flatMap(([, name]) => name ?? []);
    expect([...listVariables(readme)].sort()).toEqual([...new Set(read)].sort());
  });

  test('lists exactly the tools', () => {
    expect(firstColumn(sectionOf(readme, '## Tools'))).toEqual(TOOLS.map(({ name }) => name));
  });

  test('lists exactly the commands, with their arguments', async () => {
    const help = async (...command: string[]) =>
      listCommands((await run(process.execPath, [inject('cli'), ...command, '--help'])).stdout);
    const [top, wallet] = await Promise.all([help(), help('wallet')]);
    const known = [...top, ...wallet.map((command) => `wallet ${command}`)];
    const listed = firstColumn(sectionOf(readme, '## Shell commands')).map((usage) => usage.replace(/ \[--.*$/, ''));
    expect(listed.toSorted()).toEqual(known.toSorted());
  });
});

test('relative links and pictures of all documents lead somewhere', async () => {
  const documents = (await listFiles()).filter((path) => path.endsWith('.md'));
  expect(documents).toContain('README.md');
  for (const document of documents) {
    const text = await readText(document);
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => target ?? []);
    for (const target of targets.filter((link) => !/^https?:/.test(link))) {
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? join(root, document) : join(root, dirname(document), path);
      expect((await stat(file)).isFile(), `${document} links to ${target}`).toBe(true);
      if (anchor !== undefined) expect(listAnchors(await readFile(file, 'utf8')), document).toContain(anchor);
    }
  }
});

test('no file names a folder of some machine or the host of a package registry', async () => {
  const machine = /(?<![\w.~-])\/(?:root|work|home\/\w+|Users\/\w+)\//;
  const registry = /\bregistry\.(?:npmjs|yarnpkg)\b|\bnpm\.pkg\.github\b|\bnpmmirror\b/;
  const found: string[] = [];
  for (const path of await listFiles()) {
    const text = await readText(path);
    if (machine.test(text) || registry.test(text)) found.push(path);
  }
  expect(found).toEqual([]);
});

function listVariables(markdown: string): Set<string> {
  return new Set(firstColumn(sectionOf(markdown, '## Environment')));
}

/** Commands as commander's help shows them, without `[options]` and the help command itself. */
function listCommands(help: string): string[] {
  const [, commands = ''] = help.split('\nCommands:\n');
  return [...commands.matchAll(/^ {2}(\w+)((?: [<[][\w.]+[>\]])*)/gm)].flatMap(([, name, usage = '']) =>
    name === undefined || name === 'help' ? [] : [`${name}${usage.replace(' [options]', '')}`],
  );
}

/** Anchors of the headings, as code hosts make them. */
function listAnchors(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  );
}
