// Bundles the program into dist/: one entry, heavy parts in chunks that are loaded when first needed.
import { chmod, cp, readFile, rm } from 'node:fs/promises';
import { build } from 'esbuild';

const { version } = JSON.parse(await readFile('package.json', 'utf8'));

/** Parts of libraries that would only make the start slower: zod's translations, and the SDK's JSON Schema validator. */
const leaveOut = {
  name: 'leave-out',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /locales\/index\.(js|cjs)$/ }, ({ importer }) =>
      /[\\/]zod[\\/]/.test(importer) ? { path: 'zod-locales', namespace: 'left-out' } : undefined,
    );
    onLoad({ filter: /^zod-locales$/, namespace: 'left-out' }, () => ({ contents: 'export {};' }));
  },
};

await rm('dist', { recursive: true, force: true });
const result = await build({
  entryPoints: { cli: 'src/cli.ts' },
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.18',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: process.argv.includes('--meta'),
  define: { __VERSION__: JSON.stringify(version) },
  external: ['libsql', '@foundry-rs/*', 'canvas'],
  // Bundled CommonJS packages call require for Node's own modules.
  banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
  plugins: [leaveOut],
  logLevel: 'warning',
});
await cp('src/localnet/examples', 'dist/examples', { recursive: true });
await chmod('dist/cli.js', 0o755);
if (result.metafile) process.stdout.write(JSON.stringify(result.metafile));
