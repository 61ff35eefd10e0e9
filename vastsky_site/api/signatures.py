"""What a method accepts: its procedure's keyword-only signature, applied to the caller's struct."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from agents.xmlrpc import INT_MAX, INT_MIN
from inventory.errors import Invalid, WrongVersion

VERSION = 5

WIRE_NAMES: dict[Any, str] = {int: "int", str: "string", list: "array", dict: "struct", None: "int"}
"""How introspection names what a procedure takes or returns; nothing is sent as int 0."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One member of a request struct."""

    name: str
    kind: Any
    required: bool


def members(procedure: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Read the wire contract of a procedure off its signature."""
    return tuple(
        Parameter(name, parameter.annotation, parameter.default is parameter.empty)
        for name, parameter in inspect.signature(procedure).parameters.items()
    )


def arguments(wanted: tuple[Parameter, ...], params: tuple[object, ...]) -> dict[str, Any]:
    """Check a call's parameters and give the procedure its arguments.

    A member that the method does not know is ignored: old clients send some.
    """
    if len(params) != 1 or not isinstance(params[0], dict):
        raise Invalid("the method takes exactly one parameter, a struct")
    struct: dict[str, object] = params[0]
    version = struct.get("ver")
    if type(version) is not int or version != VERSION:
        raise WrongVersion(f"this manager speaks version {VERSION}; set the member ver to it")
    checked = {}
    for member in wanted:
        if member.name in struct:
            _check(member.kind, struct[member.name], member.name)
            checked[member.name] = struct[member.name]
        elif member.required:
            raise Invalid(f"the member {member.name} is missing")
    return checked


def describe(kind: Any) -> str:
    """Name a type as the API document does."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe(args[0])}({args[1]})"
    if origin is list:
        return f"array<{describe(args[0])}>"
    if origin in {Union, UnionType}:
        return " or ".join(describe(option) for option in args)
    if is_typeddict(kind):
        return "struct"
    return WIRE_NAMES[kind]


def result_name(procedure: Callable[..., Any]) -> str:
    """Name what a procedure returns."""
    returns = inspect.signature(procedure).return_annotation
    return WIRE_NAMES[get_origin(returns) or returns]


def _check(kind: Any, value: object, where: str) -> None:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        _check(args[0], value, where)
        _check_length(value, args[1], where)
    elif origin is list:
        _check_type(list, value, where)
        for item in value:  # type: ignore[attr-defined]  # checked to be a list just now
            _check(args[0], item, f"an element of {where}")
    elif origin in {Union, UnionType}:
        _check(type(value) if type(value) in args else args[0], value, where)
    elif is_typeddict(kind):
        _check_type(dict, value, where)
        _check_inner(get_type_hints(kind), value, where)  # type: ignore[arg-type]  # likewise
    else:
        _check_type(kind, value, where)


def _check_type(kind: type, value: object, where: str) -> None:
    # Exactly this type: a boolean is an int to Python, but not to XML-RPC.
    if type(value) is not kind:
        raise Invalid(f"{where} must be of type {WIRE_NAMES[kind]}")
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise Invalid(f"{where} is beyond 32 bits")


def _check_length(value: object, limit: int, where: str) -> None:
    if len(value) > limit:  # type: ignore[arg-type]  # only strings are annotated with a limit
        raise Invalid(f"{where} has more than {limit} characters")


def _check_inner(hints: Mapping[str, Any], struct: Mapping[str, object], where: str) -> None:
    for name, kind in hints.items():
        if name not in struct:
            raise Invalid(f"{where} lacks the member {name}")
        _check(kind, struct[name], f"{name} of {where}")
