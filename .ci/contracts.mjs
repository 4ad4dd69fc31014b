// Compiles the local network's Solidity into one JSON beside each source; `--check` only compares.
// The JSON is committed because the compiler is a development dependency: users and tests load the JSON alone.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import solc from 'solc';

const FOLDER = new URL('../src/localnet/contracts/', import.meta.url);
const CONTRACT_NAMES = ['IdentityRegistry', 'ReputationRegistry', 'UsdcToken'];
// The compiler leaves 32 zero bytes where an immutable goes. They are filled in here, so that `deployedBytecode` is
// what a deployment leaves on the chain and may be handed to setCode as it is; a test compares it with a deployment.
const IMMUTABLE_VALUES = { ReputationRegistry: '8004a818bfb912233c491871b3d84c89a494bd9e' };
// bytecodeHash none: otherwise the bytecode changes with the name of the source file.
const SETTINGS = {
  evmVersion: 'shanghai',
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: 'none' },
};

function compile(contractName, source) {
  const input = {
    language: 'Solidity',
    sources: { [contractName]: { content: source } },
    settings: {
      ...SETTINGS,
      outputSelection: {
        '*': {
          '*': [
            'abi',
            'evm.bytecode.object',
            'evm.deployedBytecode.object',
            'evm.deployedBytecode.immutableReferences',
          ],
        },
      },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const problems = output.errors ?? [];
  // A warning is a failure as well: nobody reads the warnings of a build that passes.
  if (problems.length > 0) throw new Error(problems.map((problem) => problem.formattedMessage).join('\n'));
  return output.contracts[contractName][contractName];
}

function fillImmutables(contractName, { object, immutableReferences }) {
  const references = Object.values(immutableReferences ?? {}).flat();
  if (references.length === 0) return object;
  const value = IMMUTABLE_VALUES[contractName];
  if (value === undefined || Object.keys(immutableReferences).length > 1) {
    throw new Error(`${contractName}: exactly one immutable with a value in IMMUTABLE_VALUES is supported.`);
  }
  let filled = object;
  for (const { start, length } of references) {
    filled = filled.slice(0, start * 2) + value.padStart(length * 2, '0') + filled.slice((start + length) * 2);
  }
  return filled;
}

function buildArtifact(contractName) {
  const source = readFileSync(new URL(`${contractName}.sol`, FOLDER), 'utf8');
  const { abi, evm } = compile(contractName, source);
  return {
    contractName,
    compiler: `solc ${solc.version()}`,
    settings: SETTINGS,
    sourceSha256: createHash('sha256').update(source).digest('hex'),
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${fillImmutables(contractName, evm.deployedBytecode)}`,
  };
}

function parseCommitted(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Lists what differs between the committed text and the artifact; empty when they agree byte for byte. */
function describeDifferences(artifact, artifactText, committedText) {
  if (committedText === artifactText) return [];
  const committed = committedText === undefined ? undefined : parseCommitted(committedText);
  if (committedText === undefined) return ['the JSON file is missing'];
  if (committed === undefined || committed === null) return ['the JSON file does not parse'];
  const fields = [...new Set([...Object.keys(artifact), ...Object.keys(committed)])];
  const changed = fields.filter((field) => JSON.stringify(artifact[field]) !== JSON.stringify(committed[field]));
  return changed.length > 0 ? changed.map((field) => `${field} differs`) : ['only the layout of the file differs'];
}

const isCheck = process.argv.includes('--check');
let staleCount = 0;
for (const contractName of CONTRACT_NAMES) {
  const file = new URL(`${contractName}.json`, FOLDER);
  const artifact = buildArtifact(contractName);
  const artifactText = `${JSON.stringify(artifact, null, 2)}\n`;
  const differences = describeDifferences(
    artifact,
    artifactText,
    existsSync(file) ? readFileSync(file, 'utf8') : undefined,
  );
  for (const difference of differences) process.stdout.write(`${contractName}.json: ${difference}\n`);
  if (differences.length === 0) continue;
  staleCount += 1;
  if (!isCheck) writeFileSync(file, artifactText);
}
if (isCheck && staleCount > 0) {
  process.stderr.write(
    `${staleCount} of ${CONTRACT_NAMES.length} contract files do not match their source. Run: npm run contracts\n`,
  );
  process.exitCode = 1;
} else {
  process.stdout.write(`contracts: ${CONTRACT_NAMES.length} compiled, ${isCheck ? 0 : staleCount} written\n`);
}
