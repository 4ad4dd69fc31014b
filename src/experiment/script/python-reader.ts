/**
 * Reads scripts with Python's own parser and never runs them: takes lines on stdin, each a JSON list of sources, and
 * prints for each a line with a JSON list of what `facts.ts` describes.
 */
export const PYTHON_READER = String.raw`
import ast, json, sys, warnings
warnings.simplefilter("ignore")
sys.setrecursionlimit(3000)
BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

def path_of(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    elif parts:
        parts.append("")
    return ".".join(reversed(parts))

def target_of(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return target_of(node.value) + "." + node.attr
    if isinstance(node, ast.Subscript):
        return target_of(node.value) + "[]"
    if isinstance(node, ast.Call):
        return target_of(node.func) + "()"
    return ""

def flatten(node):
    if isinstance(node, (ast.Tuple, ast.List)):
        return [leaf for item in node.elts for leaf in flatten(item)]
    if isinstance(node, ast.Starred):
        return flatten(node.value)
    return [target_of(node)]

def text_of(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value.decode("latin-1")
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return left + right if left is not None and right is not None else None
    return None

class Reader:
    def __init__(self):
        self.statements = []

    def add(self, node, scope, parts, text, binds=(), imports=()):
        found = {"line": node.lineno, "text": text, "scope": scope, "names": [], "binds": [], "mutates": [],
                 "imports": list(imports), "paths": [], "calls": [], "strings": []}
        for target in binds:
            found["binds" if target.isidentifier() else "mutates"].append(target)
        for part in parts:
            self.look(part, found)
        found["names"] = sorted(set(found["names"]))
        found["mutates"] = [target for target in found["mutates"] if target]
        self.statements.append(found)

    def look(self, node, found):
        text = text_of(node)
        if text is not None:
            found["strings"].append(text)
            return self.look_filled(node, found)
        if isinstance(node, ast.FormattedValue):
            return self.look(node.value, found)
        if isinstance(node, ast.NamedExpr):
            found["binds"].append(node.target.id)
        if isinstance(node, ast.Call):
            path = path_of(node.func)
            if path:
                args = [{"name": None, "text": text_of(arg)} for arg in node.args]
                args += [{"name": word.arg, "text": text_of(word.value)} for word in node.keywords]
                found["calls"].append({"path": path, "args": args})
        if isinstance(node, (ast.Attribute, ast.Name)):
            found["paths"].append(path_of(node))
            while isinstance(node, ast.Attribute):
                node = node.value
            if isinstance(node, ast.Name):
                found["names"].append(node.id)
                return
            self.look(node, found)
            return
        for child in ast.iter_child_nodes(node):
            self.look(child, found)

    def look_filled(self, node, found):
        if isinstance(node, ast.BinOp):
            self.look_filled(node.left, found)
            self.look_filled(node.right, found)
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self.look(part.value, found)

    def block(self, body, scope):
        for node in body:
            self.statement(node, scope)

    def statement(self, node, scope):
        inner = scope
        bodies = []
        if isinstance(node, BLOCKS):
            inner = scope + "." + node.name if scope else node.name
            if isinstance(node, ast.ClassDef):
                parts = node.bases + node.keywords
                head = "class " + node.name + "(" + ", ".join(map(ast.unparse, parts)) + ")"
            else:
                args = node.args
                parts = args.defaults + [item for item in args.kw_defaults if item] + ([node.returns] if node.returns else [])
                notes = [a.annotation for a in args.posonlyargs + args.args + args.kwonlyargs if a.annotation]
                parts = parts + notes
                head = "def " + node.name + "(" + ast.unparse(args) + ")"
            for item in node.decorator_list:
                self.add(item, scope, [item], "@" + ast.unparse(item))
            self.add(node, scope, parts, head, [node.name])
            bodies = [node.body]
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self.add(node, scope, [node.target, node.iter], "for " + ast.unparse(node.target) + " in " + ast.unparse(node.iter), flatten(node.target))
            bodies = [node.body, node.orelse]
        elif isinstance(node, (ast.While, ast.If)):
            self.add(node, scope, [node.test], type(node).__name__ + " " + ast.unparse(node.test))
            bodies = [node.body, node.orelse]
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            binds = [leaf for item in node.items if item.optional_vars for leaf in flatten(item.optional_vars)]
            self.add(node, scope, node.items, "with " + ", ".join(map(ast.unparse, node.items)), binds)
            bodies = [node.body]
        elif isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            bodies = [node.body] + [[handler] for handler in node.handlers] + [node.orelse, node.finalbody]
        elif isinstance(node, ast.ExceptHandler):
            kind = [node.type] if node.type else []
            self.add(node, scope, kind, "except " + " ".join(map(ast.unparse, kind)), [node.name] if node.name else [])
            bodies = [node.body]
        elif isinstance(node, ast.Match):
            self.add(node, scope, [node.subject], "match " + ast.unparse(node.subject))
            for case in node.cases:
                guard = [case.guard] if case.guard else []
                self.add(case.pattern, scope, [case.pattern] + guard, "case " + ast.unparse(case.pattern) + " if ".join([""] + list(map(ast.unparse, guard))))
                self.block(case.body, scope)
        else:
            self.simple(node, scope)
        for body in bodies:
            self.block(body, inner)

    def simple(self, node, scope):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, (str, bytes)):
            return
        binds, imports = [], []
        if isinstance(node, ast.Assign):
            binds = [leaf for target in node.targets for leaf in flatten(target)]
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            binds = flatten(node.target)
        elif isinstance(node, ast.Delete):
            binds = [leaf for target in node.targets for leaf in flatten(target)]
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            binds = node.names
        elif isinstance(node, ast.Import):
            imports = [{"module": a.name, "name": None, "as": a.asname or a.name.split(".")[0]} for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            imports = [{"module": module, "name": a.name, "as": a.asname or a.name} for a in node.names]
        parts = [] if imports else list(ast.iter_child_nodes(node))
        self.add(node, scope, parts, ast.unparse(node), binds, imports)

def read(source):
    reader = Reader()
    try:
        tree = ast.parse(source)
        reader.block(tree.body, "")
    except SyntaxError as error:
        return {"fault": {"line": error.lineno or 1, "message": str(error.msg)}, "statements": []}
    except (ValueError, RecursionError, MemoryError) as error:
        return {"fault": {"line": 1, "message": type(error).__name__}, "statements": []}
    return {"fault": None, "statements": reader.statements}

if sys.version_info < (3, 10):
    sys.exit(3)
for line in sys.stdin.buffer:
    facts = [read(source) for source in json.loads(line)]
    print(json.dumps({"program": sys.executable or "", "facts": facts}), flush=True)
`;
