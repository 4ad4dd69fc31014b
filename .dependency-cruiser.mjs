// The floors of the house: a file imports from lower floors or from its own folder only.
const FLOORS = [
  ['src/(store|net|base)/', 'src/config.ts'],
  ['src/(discovery|payment|worker|provenance)/'],
  ['src/(experiment|leaderboard)/'],
  ['src/campaign/'],
  ['src/coordinator.ts', 'src/coordinator/'],
  ['tools/', 'prompts/'],
  ['src/server.ts', 'src/server/'],
  ['src/(transports|localnet)/'],
  ['src/cli.ts', 'src/commands/'],
];
const matches = (globs) => `^(${globs.join('|')})`;

const floorRules = FLOORS.map((floor, level) => ({
  name: `floor-${level}-looks-up`,
  comment: 'A file imports from lower floors or from its own folder only.',
  severity: 'error',
  from: { path: matches(floor) },
  to: {
    path: matches(
      FLOORS.slice(level + 1)
        .flat()
        .concat('$^'),
    ),
  },
}));

const roomRules = [
  'discovery',
  'payment',
  'worker',
  'provenance',
  'experiment',
  'leaderboard',
  'localnet',
  'transports',
].map((room) => ({
  name: `room-${room}-is-closed`,
  comment: 'Rooms of one floor do not import each other: what they share sinks a floor or is handed in.',
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: {
    path: {
      discovery: '^src/(payment|worker|provenance)/',
      payment: '^src/(discovery|worker|provenance)/',
      worker: '^src/(discovery|payment|provenance)/',
      provenance: '^src/(discovery|payment|worker)/',
      experiment: '^src/leaderboard/',
      leaderboard: '^src/experiment/',
      localnet: '^src/transports/',
      transports: '^src/localnet/',
    }[room],
  },
}));

export default {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    ...floorRules,
    ...roomRules,
    {
      name: 'domains-know-no-mcp',
      severity: 'error',
      from: {
        path: '^src/(base|net|store|discovery|payment|worker|provenance|experiment|leaderboard|campaign)/|^src/coordinator',
      },
      to: { path: 'node_modules/@modelcontextprotocol' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.test\\.ts$' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.json'] },
  },
};
