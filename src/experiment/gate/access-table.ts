/** What a script can reach beyond its own numbers. */
export const ACCESS_KINDS = [
  'network',
  'process',
  'evaluation',
  'native',
  'write',
  'read',
  'patch',
  'dynamic',
  'environment',
] as const;
export type AccessKind = (typeof ACCESS_KINDS)[number];

/** How each kind is called in a sentence. */
export const KIND_WORDS: Readonly<Record<AccessKind, string>> = {
  network: 'network access',
  process: 'another process',
  evaluation: 'code that is made or loaded at run time',
  native: 'native code',
  write: 'a file that is written or removed',
  read: 'a file that is read',
  patch: 'a part of another module that is replaced',
  dynamic: 'a name that is looked up at run time',
  environment: 'the environment',
};

/** Modules, with everything below them. */
const MODULES: Readonly<Partial<Record<AccessKind, string>>> = {
  network:
    'socket socketserver ssl http urllib urllib3 requests httpx aiohttp ftplib smtplib poplib imaplib nntplib telnetlib xmlrpc websocket websockets paramiko grpc boto3 botocore huggingface_hub hf_transfer datasets transformers wandb gdown kagglehub webbrowser zmq redis torch.hub torch.distributed tensorflow_datasets',
  process: 'subprocess multiprocessing pty pexpect pip ensurepip venv',
  evaluation: 'importlib runpy pickle cPickle dill cloudpickle marshal code codeop imp zipimport',
  native: 'ctypes cffi _ctypes mmap torch.utils.cpp_extension torch.ops numpy.ctypeslib',
  write: 'shutil tempfile sqlite3 dbm shelve',
  read: 'fileinput linecache zipfile tarfile glob',
  dynamic: 'inspect gc builtins sys._getframe sys.settrace sys.setprofile sys.modules',
};

/** Functions by their full name. */
const FUNCTIONS: Readonly<Partial<Record<AccessKind, string>>> = {
  process:
    'os.system os.popen os.execl os.execle os.execlp os.execv os.execve os.execvp os.execvpe os.spawnl os.spawnle os.spawnlp os.spawnv os.spawnve os.spawnvp os.fork os.forkpty os.posix_spawn os.posix_spawnp os.kill os.killpg asyncio.create_subprocess_exec asyncio.create_subprocess_shell',
  evaluation: 'eval exec compile __import__',
  write:
    'os.remove os.unlink os.rename os.renames os.replace os.mkdir os.makedirs os.rmdir os.removedirs os.chmod os.chown os.symlink os.link os.truncate os.write os.open os.mkfifo os.chdir numpy.save numpy.savez numpy.savez_compressed numpy.savetxt torch.save json.dump',
  read: 'numpy.load numpy.loadtxt numpy.genfromtxt numpy.fromfile numpy.memmap torch.load torch.from_file safetensors.torch.load_file json.load os.listdir os.scandir os.walk os.read',
  dynamic: 'globals locals vars getattr setattr delattr __builtins__ breakpoint',
  environment: 'os.environ os.environb os.getenv os.putenv os.unsetenv sys.argv',
};

/** Methods of anything: the tail of a dotted name. */
const METHODS: Readonly<Partial<Record<AccessKind, string>>> = {
  network: 'from_pretrained load_dataset urlopen urlretrieve hf_hub_download load_state_dict_from_url',
  write: 'write_text write_bytes unlink tofile to_csv to_parquet to_pickle savefig symlink_to hardlink_to touch rmdir',
  read: 'read_text read_bytes read_csv read_parquet rglob iterdir',
  evaluation: '__globals__ __code__ __closure__ __subclasses__ __class__ __dict__ f_globals f_locals f_back',
};

function toMap(table: Readonly<Partial<Record<AccessKind, string>>>): ReadonlyMap<string, AccessKind> {
  return new Map(
    ACCESS_KINDS.flatMap((kind) => (table[kind]?.split(' ') ?? []).map((name): [string, AccessKind] => [name, kind])),
  );
}

const BY_MODULE = toMap(MODULES);
const BY_FUNCTION = toMap(FUNCTIONS);
const BY_METHOD = toMap(METHODS);

/** What a module reaches, by itself or by one above it. */
export function kindOfModule(module: string): AccessKind | undefined {
  const parts = module.split('.');
  return parts
    .map((_part, index) => BY_MODULE.get(parts.slice(0, index + 1).join('.')))
    .find((kind) => kind !== undefined);
}

/** What a dotted name reaches, its imports resolved. */
export function kindOfPath(path: string): AccessKind | undefined {
  const parts = path.split('.');
  const byFunction = parts
    .map((_part, index) => BY_FUNCTION.get(parts.slice(0, index + 1).join('.')))
    .find((kind) => kind !== undefined);
  if (byFunction !== undefined) return byFunction;
  const method = parts.length > 1 ? parts.find((part) => BY_METHOD.has(part)) : undefined;
  return method === undefined ? kindOfModule(path) : BY_METHOD.get(method);
}

/** Modules of Python itself that reach nothing: importing them is no news. */
const HARMLESS = new Set(
  'abc argparse array ast bisect cmath collections contextlib copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools json math numbers operator os platform pprint random re resource statistics string struct sys textwrap time typing types typing_extensions warnings weakref zlib unicodedata __future__'.split(
    ' ',
  ),
);

/** Whether a module is part of what the parent already uses, or harmless by itself. */
export function isOrdinary(module: string, parentModules: ReadonlySet<string>): boolean {
  const top = module.split('.')[0] ?? '';
  return HARMLESS.has(top) || parentModules.has(top) || module.startsWith('.');
}
