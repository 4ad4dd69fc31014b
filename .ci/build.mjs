// Bundles the program into dist/: one entry, heavy parts in chunks that are loaded when first needed.
// --outdir=<folder> builds elsewhere, for tests that must not disturb a program in use.
import { chmod, cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const outdir = process.argv.find((argument) => argument.startsWith('--outdir='))?.slice('--outdir='.length) ?? 'dist';
const { version } = JSON.parse(await readFile('package.json', 'utf8'));

/**
 * Parts of libraries that would only make the start slower: zod's translations; the JSON Schema validator of the SDK's
 * server, which checks answers to questions that we never ask (elicitation); pino's transports in threads.
 */
const leaveOut = {
  name: 'leave-out',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /validation\/ajv-provider\.js$/ }, ({ importer }) =>
      /[\\/]sdk[\\/]dist[\\/]esm[\\/]server[\\/]/.test(importer)
        ? { path: 'schema-validator', namespace: 'left-out' }
        : undefined,
    );
    onLoad({ filter: /^schema-validator$/, namespace: 'left-out' }, () => ({
      contents: `export class AjvJsonSchemaValidator {
        getValidator() { throw new Error('The JSON Schema validator is left out of this build.'); }
      }`,
    }));
    onResolve({ filter: /^thread-stream$/ }, () => ({ path: 'thread-stream', namespace: 'left-out' }));
    onLoad({ filter: /^thread-stream$/, namespace: 'left-out' }, () => ({
      contents: `module.exports = function () { throw new Error('Transports in threads are left out of this build.'); };`,
    }));
    onResolve({ filter: /locales\/index\.(js|cjs)$/ }, ({ importer }) =>
      /[\\/]zod[\\/]/.test(importer) ? { path: 'zod-locales', namespace: 'left-out' } : undefined,
    );
    onLoad({ filter: /^zod-locales$/, namespace: 'left-out' }, () => ({ contents: 'export {};' }));
  },
};

/**
 * What cannot be bundled: a native addon, a platform's program, and what vega looks for to measure text and does
 * without. All other dependencies are in the bundle, since loading them from their folders takes three times as long.
 */
const EXTERNAL = ['libsql', '@foundry-rs/*', 'canvas'];

const result = await build({
  entryPoints: { cli: 'src/cli.ts' },
  outdir,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.18',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  define: { __VERSION__: JSON.stringify(version) },
  external: EXTERNAL,
  // Bundled CommonJS packages call require for Node's own modules.
  banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
  plugins: [leaveOut],
  logLevel: 'warning',
});
await cp('src/localnet/examples', `${outdir}/examples`, { recursive: true });
await writeFile(`${outdir}/THIRD-PARTY-LICENSES.txt`, await collectLicences(Object.keys(result.metafile.inputs)));
await chmod(`${outdir}/cli.js`, 0o755);
await removeLeftovers(new Set(Object.keys(result.metafile.outputs).map((path) => basename(path))));
if (process.argv.includes('--meta')) process.stdout.write(JSON.stringify(result.metafile));

/** Chunks of earlier builds go last: a program that runs from this folder always finds a whole set. */
async function removeLeftovers(current) {
  for (const name of await readdir(`${outdir}/chunks`)) {
    if (!current.has(name)) await rm(`${outdir}/chunks/${name}`, { force: true });
  }
}

/** The bundle carries other people's code, whose licences ask for their text to go with it. */
async function collectLicences(inputs) {
  const folders = inputs.flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []);
  const parts = new Map();
  for (const folder of [...new Set(folders)].sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : await readFile(join(folder, file), 'utf8');
    parts.set(`${name} ${version}`, `${name} ${version}: ${license}\n\n${text.trim()}\n`);
  }
  return [...parts.values()].join(`\n${'-'.repeat(80)}\n\n`);
}
