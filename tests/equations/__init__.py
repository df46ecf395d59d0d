r"""One test for each numbered equation of the book: tests/equations/test_NN.py, a function with a `claim`
inside.

    @equation("1.7", "jump")              # the number and label of <!-- eq 1.7 jump --> in the notebook
    def test_jump():                      # no arguments, seeds fixed, well under a second: it runs many times
        def claim(x0, noise, ab):         # the right side, as in the book, and nothing else
            return ab**0.5 * x0 + (1 - ab) ** 0.5 * noise

        # another route to the same: a simulation, the definition, an integral
        walk = ...
        assert abs(claim(...) - walk).max() < 1e-6

Where the left side holds signs too, `claim` returns both sides, (left, right). test_registered.py flips the
signs of every claim one at a time, each + to - and each - to +, and requires that the test fails; in a claim
without a sign each product becomes a quotient and each quotient a product; in one without these the sign of
all of it flips.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FLIPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
NOTICED = (
    AssertionError,
    ArithmeticError,
    ValueError,
)  # a TypeError would only say that the flip makes no sense


@dataclass(frozen=True)
class Equation:
    number: str
    label: str
    test: Callable[[], None]


EQUATIONS: list[Equation] = []


def equation(number: str, label: str) -> Callable:
    """Registers the test of a numbered equation."""

    def register(test: Callable[[], None]) -> Callable[[], None]:
        EQUATIONS.append(Equation(number, label, test))
        return test

    return register


def flipped(test: Callable[[], None]) -> Iterator[tuple[str, Callable[[], None]]]:
    """The test once for each sign of its claim, with that sign wrong: (what the claim says now, the test)."""
    source = textwrap.dedent(inspect.getsource(test))
    places = len(signs(claim_of(ast.parse(source).body[0])))
    for place in range(places):
        tree = ast.parse(source)
        function = tree.body[0]
        function.decorator_list = []
        claim = claim_of(function)
        flip(signs(claim)[place])
        names = dict(vars(inspect.getmodule(test)))
        exec(compile(ast.fix_missing_locations(tree), f"<{test.__name__}, sign {place}>", "exec"), names)
        yield ast.unparse(claim), names[function.name]


def claim_of(function: ast.FunctionDef) -> ast.FunctionDef:
    """The function `claim` inside an equation's test. AssertionError where there is not exactly one."""
    claims = [
        node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node.name == "claim"
    ]
    assert len(claims) == 1, f"{function.name} needs one function `claim` inside: the equation's right side"
    return claims[0]


def signs(claim: ast.FunctionDef) -> list[ast.AST]:
    """The nodes to flip: sums, differences and minus signs; else products and quotients; else what is
    returned.
    """
    nodes = [node for statement in claim.body for node in ast.walk(statement)]

    def operations(*kinds: type) -> list[ast.AST]:
        return [n for n in nodes if isinstance(n, (ast.BinOp, ast.UnaryOp)) and isinstance(n.op, kinds)]

    return (
        operations(ast.Add, ast.Sub, ast.USub)
        or operations(ast.Mult, ast.Div)
        or [node for node in nodes if isinstance(node, ast.Return)]
    )


def flip(node: ast.AST) -> None:
    """Make one sign wrong, in place."""
    if isinstance(node, ast.Return):
        node.value = ast.UnaryOp(ast.USub(), node.value)
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    else:
        node.op = FLIPS[type(node.op)]()
