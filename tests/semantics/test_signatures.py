"""inspect.signature() of everything that is public, as the stubs have it; arguments by name."""

import ast
import importlib
import inspect
import pathlib
import typing

import goroutines as G
import pytest
from goroutines import Chan, recv, select, send
from goroutines.sync import Once, Pool, SingleFlight

MODULES = ("goroutines", "goroutines.sync", "goroutines.context", "goroutines.patch",
           "goroutines.debug")  # fmt: skip
STUBS = pathlib.Path(G.__file__).with_name("_core.pyi")


def public_callables() -> typing.Iterator[tuple[str, typing.Any]]:
    """Exceptions are left out: Python's own have no signature in most versions."""
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and not (
                isinstance(thing, type) and issubclass(thing, BaseException)
            ):
                yield f"{module.__name__}.{name}", thing
                if isinstance(thing, type):
                    yield from methods(f"{module.__name__}.{name}", thing)


def methods(name: str, cls: type) -> typing.Iterator[tuple[str, typing.Any]]:
    for member in vars(cls):
        if not member.startswith("_") or member in ("__enter__", "__exit__"):
            if callable(getattr(cls, member)):
                yield f"{name}.{member}", getattr(cls, member)


PUBLIC = dict(public_callables())


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_one(name):
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    # The only ones that take just anything are those that pass it on, and say to whom.
    assert [p.name for p in parameters] != ["args", "kwargs"]


class Parameter(typing.NamedTuple):
    name: str
    positional_only: bool
    keyword_only: bool
    star: bool
    optional: bool


def of_stub(function: ast.FunctionDef) -> list[Parameter]:
    a = function.args
    plain = a.posonlyargs + a.args
    optional = len(plain) - len(a.defaults)
    found = [
        Parameter(p.arg, i < len(a.posonlyargs), False, False, i >= optional)
        for i, p in enumerate(plain)
    ]
    found += [Parameter(a.vararg.arg, False, False, True, False)] if a.vararg else []
    found += [
        Parameter(p.arg, False, True, False, d is not None)
        for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)
    ]
    found += [Parameter(a.kwarg.arg, False, False, True, False)] if a.kwarg else []
    return [p for p in found if p.name not in ("self", "cls")]


def of_thing(thing: typing.Any) -> list[Parameter]:
    return [
        Parameter(
            p.name,
            p.kind is p.POSITIONAL_ONLY,
            p.kind is p.KEYWORD_ONLY,
            p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD),
            p.default is not p.empty,
        )
        for p in inspect.signature(thing).parameters.values()
        if p.name != "self"
    ]


def stubs() -> dict[str, ast.FunctionDef]:
    found = {}
    for node in ast.parse(STUBS.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    made = inner.name in ("__new__", "__init__")
                    found[node.name if made else f"{node.name}.{inner.name}"] = inner
    return found


def test_they_are_those_of_the_stubs():
    of_core = {
        name.removeprefix("goroutines.").removeprefix("sync."): thing
        for name, thing in PUBLIC.items()
    }
    stubbed = stubs()
    both = of_core.keys() & stubbed.keys()
    assert len(both) > 50
    assert {n: of_thing(of_core[n]) for n in both} == {n: of_stub(stubbed[n]) for n in both}


def test_that_of_chan():
    says = "(elem: Any = <class 'object'>, capacity: int = 0, *, by_value: bool = False)"
    assert str(inspect.signature(Chan)) == says
    assert not hasattr(Chan(), "__signature__")
    assert Chan(elem=int, capacity=2, by_value=True).capacity == 2


def test_arguments_by_name():
    c = Chan(int, 4)
    c.send(value=1)
    c.sender.send(timeout=1, value=2)
    select(send(ch=c, value=3), timeout=0)
    select(send(c, value=4), timeout=0)
    assert select(recv(ch=c), timeout=0).value == 1
    assert [c.recv(), c.recv(), c.recv()] == [2, 3, 4]
    ran: list[int] = []
    Once().do(fn=lambda: ran.append(1))
    pool = Pool(new=list)
    pool.put(x=ran)
    assert pool.get() is ran == [1]
    assert SingleFlight().do(key=1, fn=list) == ([], False)
    assert G.after_func(seconds=60, fn=list).stop()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Chan().send(), "value"),
        (lambda: Chan().send(timeout=1), "value"),
        (lambda: Chan().send(1, value=2), "multiple values.*'value'"),
        (lambda: Chan().send(1, 2), "timeout="),
        (lambda: Chan().recv(value=2), "unexpected keyword argument 'value'"),
        (lambda: recv(chan=Chan()), "unexpected keyword argument 'chan'"),
        (lambda: send(Chan()), "'value'"),
        (lambda: send(value=1), "'ch'"),
        (lambda: send(Chan(), 1, 2), "at most 2"),
    ],
)
def test_wrong_arguments(call, says):
    with pytest.raises(TypeError, match=says):
        call()
