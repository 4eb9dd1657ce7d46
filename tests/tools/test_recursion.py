"""Recursion through C: an exception, or the end of the process with the goroutine's name.

The rule: whatever a program does with its stack, the outcome is a RecursionError, a MemoryError, no
error at all, or the fatal message of src/runtime/fault.c.  Never a plain segmentation fault, never
a change in the memory of a neighbour.
"""

from typing import NamedTuple

import pytest
from helpers import prints, script, told

from .support import PY, overflowed

DEEP = 20_000


class Row(NamedTuple):
    """Source that defines f(), and what else than RecursionError and the like is fine."""

    source: str
    raises: tuple[str, ...] = ()
    # The interpreter does not count these levels: plain Python ends in a segmentation fault, too.
    unchecked: bool = False


def method(name: str, args: str, body: str, call: str) -> Row:
    return Row(f"class A:\n    def {name}({args}): return {body}\ndef f(): return {call}")


def nested(first: str, step: str, use: str, *raises: str, unchecked: bool = False) -> Row:
    """x = first; x = step(x) again and again; then use(x), and x is freed."""
    source = f"def f():\n    x = {first}\n    for _ in range({DEEP}): x = {step}\n    return {use}"
    return Row(source, raises, unchecked)


def text(use: str, *raises: str, n: int = 20_000) -> Row:
    return Row(f"n = {n}\ndef f(): return {use}", ("SyntaxError", *raises))


ROWS = {
    # callbacks
    "sorted": Row("def f(): return sorted([1, 2], key=lambda x: f())"),
    "list.sort": Row("def f(): return [2, 1].sort(key=functools.cmp_to_key(lambda a, b: f()))"),
    "min": Row("def f(): return min([1, 2], key=lambda x: f())"),
    "map": Row("def f(): return list(map(lambda x: f(), [1]))"),
    "filter": Row("def f(): return list(filter(lambda x: f(), [1]))"),
    "reduce": Row("def f(): return functools.reduce(lambda a, b: f(), [1, 2])"),
    "partial": Row("def f(): return functools.partial(f)()"),
    "lru_cache": Row("@functools.lru_cache\ndef g(n): return g(n + 1)\ndef f(): return g(0)"),
    "re.sub": Row("def f(): return re.sub('x', lambda m: f(), 'x')"),
    "eval": Row("def f(): return eval('f()', globals())"),
    "exec": Row("def f(): exec('f()', globals())"),
    "json hook": Row("def f(): return json.loads('{}', object_hook=lambda d: f())"),
    "json default": Row("def f(): return json.dumps(f, default=lambda o: f())"),
    "ctypes callback": Row("cb = ctypes.CFUNCTYPE(None)(lambda: cb())\ndef f(): cb()"),
    "ctypes qsort": Row(
        "compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(\n"
        "    lambda a, b: [f(), 0][1])\n"
        "def f(): ctypes.CDLL(None).qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare)"
    ),
    "sqlite function": Row(
        "def f():\n"
        "    db = sqlite3.connect(':memory:', check_same_thread=False)\n"
        "    def g(): return db.execute('select g()').fetchone()[0]\n"
        "    db.create_function('g', 0, g)\n"
        "    g()",
        ("OperationalError",),
    ),
    "import hook": Row(
        "class Finder:\n    def find_spec(*_): import missing\n"
        "def f():\n    sys.meta_path.insert(0, Finder())\n"
        "    try: import missing\n    finally: del sys.meta_path[0]",
        ("ModuleNotFoundError", "_DeadlockError"),
    ),
    # special methods
    "getattr": method("__getattr__", "self, n", "getattr(self, n + 'x')", "A().a"),
    "getattribute": method("__getattribute__", "self, n", "getattr(self, n)", "A().a"),
    "setattr": method("__setattr__", "self, n, v", "setattr(self, n, v)", "setattr(A(), 'a', 1)"),
    "property": Row(
        "class A:\n    @property\n    def a(self): return self.a\ndef f(): return A().a"
    ),
    "get": Row(
        "class D:\n    def __get__(self, i, t): return i.a\nclass A: a = D()\ndef f(): return A().a"
    ),
    "repr": method("__repr__", "self", "repr(self)", "repr(A())"),
    "str": method("__str__", "self", "str(self)", "str(A())"),
    "format": method("__format__", "self, s", "'{}'.format(self)", "format(A())"),
    "percent": method("__str__", "self", "'%s' % self", "str(A())"),
    "f-string": method("__repr__", "self", "f'{self!r}'", "repr(A())"),
    "join": method("__str__", "self", "''.join(map(str, [self]))", "str(A())"),
    "print": method("__str__", "self", "print(self, file=io.StringIO())", "str(A())"),
    "eq": method("__eq__", "self, o", "self == o", "A() == 1"),
    "lt": method("__lt__", "self, o", "sorted([self, o])", "A() < A()"),
    "hash": method("__hash__", "self", "hash(self)", "hash(A())"),
    "dict key": method("__hash__", "self", "{self: 1}", "hash(A())"),
    "call": method("__call__", "self", "self()", "A()()"),
    "iter": method("__iter__", "self", "iter(self)", "iter(A())"),
    "next": method("__next__", "self", "next(self)", "next(A())"),
    "len": method("__len__", "self", "len(self)", "len(A())"),
    "bool": method("__bool__", "self", "not self", "bool(A())"),
    "index": method("__index__", "self", "[1][self]", "[1][A()]"),
    "int": method("__int__", "self", "int(self)", "int(A())"),
    "contains": method("__contains__", "self, o", "o in self", "1 in A()"),
    "getitem": method("__getitem__", "self, i", "self[i]", "A()[0]"),
    "missing": Row("class A(dict):\n    def __missing__(self, k): return self[k]\ndef f(): A()[0]"),
    "add": method("__add__", "self, o", "self + o", "A() + 1"),
    "enter": Row(
        "class A:\n    def __exit__(*_): pass\n    def __enter__(self):\n        with self: pass\n"
        "def f():\n    with A(): pass"
    ),
    "new": method("__new__", "cls", "cls()", "A()"),
    "init subclass": Row(
        "class A:\n    def __init_subclass__(cls): type('B', (cls,), {})\n"
        "def f(): type('B', (A,), {})"
    ),
    "instancecheck": Row(
        "class M(type):\n    def __instancecheck__(c, o): return isinstance(o, c)\n"
        "class A(metaclass=M): pass\ndef f(): return isinstance(1, A)"
    ),
    "subclasshook": Row(
        "class A(abc.ABC):\n    @classmethod\n"
        "    def __subclasshook__(c, o): return issubclass(type('T', (), {}), c)\n"
        "def f(): return issubclass(int, A)"
    ),
    "del": Row(
        "class A:\n    def __init__(self, n): self.n = n\n"
        "    def __del__(self):\n        if self.n: A(self.n - 1)\n"
        "def f(): A(5000)"
    ),
    "reduce ex": method("__reduce__", "self", "pickle.dumps(self)", "pickle.dumps(A())"),
    "deepcopy method": method(
        "__deepcopy__", "self, m", "copy.deepcopy(self)", "copy.deepcopy(A())"
    ),
    "tracer": Row(
        "def g(): pass\ndef f():\n    sys.setprofile(lambda *_: None)\n"
        "    try: sorted([1], key=lambda x: f())\n    finally: sys.setprofile(None)"
    ),
    # nested values
    "repr of lists": nested("[]", "[x]", "repr(x)"),
    "repr of tuples": nested("()", "(x,)", "repr(x)"),
    "repr of dicts": nested("{}", "{1: x}", "repr(x)"),
    "repr of deques": nested("1", "collections.deque([x])", "repr(x)", unchecked=True),
    "compare lists": nested("[]", "[x]", "x == copy_of(x)"),
    "compare tuples": nested("()", "(x,)", "x == copy_of(x)"),
    "hash of tuples": nested("()", "(x,)", "hash(x)", unchecked=True),
    "json.dumps": nested("[]", "[x]", "json.dumps(x)"),
    "pickle.dumps": nested("[]", "[x]", "pickle.dumps(x)"),
    "pickle.loads": Row(f"def f(): return pickle.loads(b']' * {DEEP} + b'a' * {DEEP - 1} + b'.')"),
    "marshal.dumps": nested("[]", "[x]", "marshal.dumps(x)", "ValueError"),
    "marshal.loads": Row(
        f"def f(): marshal.loads(b'[\\1\\0\\0\\0' * {DEEP} + b'N')",
        ("ValueError",),
        unchecked=PY >= (3, 14),
    ),
    "deepcopy": nested("[]", "[x]", "copy.deepcopy(x)"),
    "isinstance": nested("int", "(x,)", "isinstance('', x)"),
    "issubclass": nested("int", "(x,)", "issubclass(str, x)"),
    "startswith": nested("'a'", "(x,)", "'b'.startswith(x)", "TypeError"),
    "generic alias": nested("int", "list[x]", "repr(x)"),
    "unparse": nested("ast.Constant(1)", "ast.UnaryOp(ast.USub(), x)", "ast.unparse(x)"),
    "exception groups": nested(
        "ValueError()", "ExceptionGroup('', [x])", "x.split(lambda e: False)"
    ),
    "causes": Row(
        """
def f():
    x = ValueError()
    for _ in range(900):
        y = ValueError()
        y.__cause__ = x
        x = y
    with contextlib.redirect_stderr(io.StringIO()):
        sys.__excepthook__(ValueError, x, None)
"""
    ),
    "map of map": nested("iter([1])", "map(int, x)", "next(x)", unchecked=True),
    "filter of filter": nested("iter([1])", "filter(None, x)", "next(x)", unchecked=True),
    "zip of zip": nested("iter([1])", "zip(x)", "next(x)", unchecked=True),
    "chain of chain": nested("iter([1])", "itertools.chain(x)", "next(x)", unchecked=True),
    "partial of partial": nested("int", "functools.partial(x.__call__)", "x()", unchecked=True),
    "method of method": Row(
        "def f():\n    x = max\n    for _ in range(5000): x = types.MethodType(x, '')\n    x()",
        unchecked=True,
    ),
    "proxy of proxy": nested("{}", "types.MappingProxyType(x)", "len(x)", unchecked=True),
    "yield from": Row(
        f"""
def g(inner): yield from inner
def f():
    x = iter([1])
    for _ in range({DEEP}): x = g(x)
    return next(x)
""",
        unchecked=True,
    ),
    "yield from itself": Row("def g(): yield from g()\ndef f(): return next(g())"),
    "free objects": Row(
        f"""
class A:
    def __del__(self): self.done = True
def f():
    x = None
    for _ in range({DEEP}):
        y = A()
        y.next = x
        x = y
"""
    ),
    "free generators": Row(
        f"""
def g(x):
    yield x
def f():
    x = None
    for _ in range({DEEP}):
        x = g(x)
        next(x)
""",
        unchecked=True,
    ),
    # texts
    "ast.parse (": text("ast.parse('(' * n + ')' * n)"),
    "ast.parse [": text("ast.parse('[' * n)"),
    "ast.parse -": text("ast.parse('-' * n + '1')"),
    "ast.parse +": text("ast.parse('+'.join('1' * n))"),
    "ast.parse .": text("ast.parse('a' + '.a' * n)"),
    "ast.parse 199 (": text("ast.parse('(' * n + ')' * n)", n=199),
    "compile lambda": text("compile('lambda: ' * n + '1', '', 'eval')"),
    "compile blocks": text(
        "compile('\\n'.join(' ' * i + 'if 1:' for i in range(n)) + ' 1', '', 'exec')", n=99
    ),
    "compile if else": text("compile('1 if 1 else ' * n + '1', '', 'eval')"),
    "compile ast": nested(
        "ast.Constant(1, lineno=1, col_offset=0)",
        "ast.UnaryOp(ast.USub(), x, lineno=1, col_offset=0)",
        "compile(ast.Expression(x), '', 'eval')",
    ),
    "eval f-string": text("eval('f\"{' * n)", "MemoryError", n=500),
    "literal_eval": text("ast.literal_eval('[' * n + ']' * n)", "ValueError"),
    "json.loads": Row(f"def f(): return json.loads('[' * {DEEP})", ("JSONDecodeError",)),
    "re.compile": text("re.compile('(?:' * n + ')' * n)"),
    "re.match": text("re.match('(?:(?:a|b)c?)*d', 'ab' * n)", n=100_000),
    "re lookahead": text("re.compile('(?=' * n + ')' * n).match('')", n=90),
    "xml": text("xml.etree.ElementTree.fromstring('<a>' * n + '</a>' * n)", n=100_000),
    "xml deepcopy": text(
        "copy.deepcopy(xml.etree.ElementTree.fromstring('<a>' * n + '</a>' * n))", n=100_000
    )._replace(unchecked=True),
    "xml tostring": text(
        "xml.etree.ElementTree.tostring(xml.etree.ElementTree.fromstring('<a>' * n + '</a>' * n))"
    ),
    "sqlite": text(
        "sqlite3.connect(':memory:').execute('select ' + '+'.join('1' * n)).fetchone()",
        "OperationalError",
        n=999,
    ),
    "big int": text("str(3 ** n)[:1] + str(int('7' * n))[:1]", "ValueError", n=100_000),
    "decimal": text(
        "decimal.Context(prec=2 * n, Emax=10**9).multiply(*[decimal.Decimal('7' * n)] * 2)",
        n=200_000,
    ),
}

PROGRAM = r"""
import abc, ast, collections, contextlib, copy, ctypes, decimal, functools, io, itertools, json
import marshal, pickle, re, resource, sqlite3, sys, types, xml.etree.ElementTree
import goroutines as G

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.unraisablehook = lambda args: None
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)

def copy_of(x):
    levels = 0
    while x:
        (x,), kind, levels = x, type(x), levels + 1
    y = kind()
    for _ in range(levels):
        y = kind((y,))
    return y

@SOURCE@

def from_depth(n):
    return from_depth(n - 1) if n else f()

def outcome(call):
    try:
        call()
    except BaseException as error:
        return type(error).__name__
    return "fine"

def parks(gate, i):
    return sorted([i, i], key=lambda x: [x, gate.recv_ok()][0]) == [i, i]

def neighbours():
    "The stacks of those who wait in parks(): all bytes up to a multiple of the size."
    size = G.stack_size() or (2 << 20 if sys.version_info < (3, 14) else 512 << 10)
    memory = {}
    for lo, frame in sys._current_frames().items():
        while frame and frame.f_code is not parks.__code__:
            frame = frame.f_back
        if frame:
            memory[lo] = ctypes.string_at(lo, size - lo % size)
    return memory

def main(mode):
    call = f
    if mode == "deep":
        call = functools.partial(from_depth, sys.getrecursionlimit() * 3 // 4)
    if mode == "small":
        G.stack_size(128 << 10)
    n = 4 if mode in ("four", "small") else 1
    gate, start, out, fine = [G.Chan(capacity=k) for k in (0, 0, n, n)]
    for i in range(n):
        # The lower address is the neighbour's.
        G.go(lambda i=i: fine.send(parks(gate, i)))
        G.go(lambda: [start.recv_ok(), out.send(outcome(call))])
    while len(re.findall(r"^goroutine \d+ \[chan receive", G.debug.stacks(), re.M)) < 2 * n:
        G.sleep(0.001)
    before = neighbours()
    assert len(before) == n
    start.close()
    outcomes = {out.recv() for _ in range(n)}
    for lo, memory in neighbours().items():
        changed = memory != before[lo] and [
            i for i in range(len(memory)) if memory[i] != before[lo][i]
        ]
        assert not changed, f"a neighbour's stack has changed at {changed[:40]} of {len(memory)}"
    gate.close()
    assert all(fine.recv() for _ in range(n))
    print(mode, *outcomes, flush=True)

import goroutines.debug
for mode in sys.argv[1:]:
    G.run(main, mode)
"""

FINE = {"RecursionError", "MemoryError", "fine"}


def check(row: Row, *modes: str) -> None:
    """One process goes through the modes, unless it may end in the first."""
    done = script(PROGRAM.replace("@SOURCE@", row.source), args=modes)
    if (row.unchecked or "small" in modes) and overflowed(done):
        return
    assert done.returncode == 0, told(done)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(modes), told(done)
    for line in lines:
        assert set(line[1:]) <= FINE | set(row.raises), told(done)


@pytest.mark.parametrize("kind", ROWS)
def test_recursion(kind: str) -> None:
    """Alone, from a deep frame, and in four goroutines at once, at the default size.  Fails with
    stacks of 2 MiB on 3.11 (`lt`) and of 256 KiB on 3.14 (`decimal`)."""
    row, modes = ROWS[kind], ("default", "deep", "four")
    for group in [(mode,) for mode in modes] if row.unchecked else [modes]:
        check(row, *group)


# _decimal takes 256 KiB in one frame, and so does str() of a big int from 3.12 on, which uses it.
# On small stacks that steps over guard and neighbours alike (docs/compatibility.md, "Guards"): one
# run in fifty or so died in a neighbour that was overwritten, without a message.
BEYOND_ANY_GUARD = {"big int", "decimal"}


@pytest.mark.parametrize("kind", sorted(ROWS.keys() - BEYOND_ANY_GUARD))
def test_recursion_on_small_stacks(kind: str) -> None:
    """Fails without the guards (GOROUTINES_STACK_GUARD=none)."""
    if kind == "import hook" and PY == (3, 14):
        # So do plain threads with stacks of 128 KiB, each of them; the next thread's import hangs.
        pytest.skip("3.14 keeps its import lock for ever if the stack ends where it is released")
    check(ROWS[kind], "small")


@pytest.mark.parametrize("kind", ["sorted", "getattr", "repr"])
def test_recursion_while_wired(kind: str) -> None:
    """A wired goroutine is on its own stack, too, not on its thread's."""
    wired = "\ndef wired(call):\n    G.lock_os_thread()\n    call()\n"
    source = PROGRAM.replace("outcome(call))]", "outcome(lambda: wired(call)))]")
    done = script(source.replace("@SOURCE@", ROWS[kind].source + wired), args=["four"])
    assert done.returncode == 0, told(done)
    assert done.stdout == "four RecursionError\n", told(done)


def test_recursion_in_python_a_hundred_thousand_deep() -> None:
    """It needs no C stack, and a park at the bottom keeps all of it."""
    prints(
        """
        import sys
        import goroutines as G
        sys.setrecursionlimit(200_000)
        def down(n, c):
            if n == 0:
                return c.recv()
            return down(n - 1, c) + 1
        def main():
            c, out = G.Chan(), G.Chan()
            for _ in range(3):
                G.go(lambda: out.send(down(100_000, c)))
            for _ in range(3):
                c.send(0)
            return {out.recv() for _ in range(3)}
        print(G.run(main))
        """,
        "{100000}",
    )
