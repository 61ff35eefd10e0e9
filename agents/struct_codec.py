"""Frozen dataclasses as structs of XML-RPC and JSON, and back: members read with suspicion.

What manager and agents say to each other, the orders on an engine's control socket and the state
files of nodes are all read and written here.
"""

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

WIRE = "wire"
"""Metadata of a member whose name on the wire, fixed since the first agents, is another."""

T = TypeVar("T")


class Malformed(ValueError):
    """A struct from the other side is not what the protocol says."""


_Read = Callable[[object, str], Any]
"""Reads a value; the string says where it was, for whoever reads the error."""


def to_struct(value: Any) -> Any:
    """Turn a dataclass, with all below it, into what XML-RPC can carry."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is list:
        return [to_struct(item) for item in value]
    if isinstance(value, StrEnum):
        return str(value)
    if kind not in _SHAPES and not is_dataclass(kind):
        return value
    shape = _shape(kind)
    struct = dict(zip(shape.wires, shape.values(value), strict=True))
    for wire, write in shape.composed:
        struct[wire] = write(struct[wire])
    return struct


_PLAIN = frozenset((bool, int, str))


def from_struct(kind: type[T], struct: object) -> T:
    """Read a struct as the dataclass `kind`; Malformed where a member lacks or has another type.

    Members that `kind` does not know are ignored: an older peer may talk to a newer one.
    """
    return typing.cast("T", _reader(kind)(struct, kind.__name__))


def learn(*kinds: type) -> None:
    """Look into these dataclasses, and all below them, now: whoever forks does it once for many."""
    for kind in kinds:
        for member in _shape(kind).members:
            below = (member.kind, *typing.get_args(member.kind))
            learn(*(typing.cast("type", one) for one in below if is_dataclass(one)))


def _read_dataclass(kind: type, value: object, where: str) -> Any:
    if not isinstance(value, dict):
        raise Malformed(f"{where}: a struct is wanted")
    values = []
    for wire, _, plain, read, default in _shape(kind).members:
        inner = value.get(wire, MISSING)
        if type(inner) is plain:  # most are: no call for each
            values.append(inner)
        elif inner is not MISSING:
            values.append(read(inner, f"{where}.{wire}"))
        elif default is not MISSING:
            values.append(default)
        else:
            raise Malformed(f"{where}: {wire} is missing")
    return kind(*values)


def _read_enum(
    kind: type[StrEnum], values: Mapping[object, StrEnum], value: object, where: str
) -> StrEnum:
    if type(value) is str and value in values:
        return values[value]
    try:
        return kind(value if isinstance(value, str) else "\0")
    except ValueError:
        raise Malformed(f"{where}: {repr(value)[:80]} is no {kind.__name__}") from None


def _read_structs(kind: type, value: object, where: str) -> Any:
    return tuple([_read_dataclass(kind, item, where) for item in _array(value, where)])


def _read_array(kind: Any, read: _Read, value: object, where: str) -> Any:
    items = _array(value, where)
    if kind in _PLAIN and {*map(type, items)} <= {kind}:
        return tuple(items)
    return tuple([read(item, where) for item in items])


def _array(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise Malformed(f"{where}: an array is wanted")
    return value


def _read_as(wanted: type, value: object, where: str) -> object:
    if type(value) is not wanted:
        raise Malformed(f"{where}: {_NOUNS[wanted]} is wanted")
    return value


_NOUNS = {
    bool: "a boolean",
    int: "an int",
    float: "a float",
    str: "a string",
    dict: "a struct",
    type(None): "nothing",
}


def _reader(kind: Any) -> _Read:
    """Choose how a value of a type is read."""
    if is_dataclass(kind):
        return partial(_read_dataclass, typing.cast("type", kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return partial(_read_enum, kind, {str(value): value for value in kind})
    origin = typing.get_origin(kind)
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        if is_dataclass(inner):
            return partial(_read_structs, typing.cast("type", inner))
        return partial(_read_array, inner, _reader(inner))
    return partial(_read_as, dict if origin is dict else kind)


class _Member(typing.NamedTuple):
    """A dataclass's member, as needed to read it; `plain` is its type if that is plain."""

    wire: str
    kind: Any
    plain: type | None
    read: _Read
    default: Any


class _Shape(typing.NamedTuple):
    """What is known of a dataclass: how to read its members, and to write them.

    `values` gives all of an object's, `wires` are their names in a struct, `composed` those that
    are not plain.
    """

    members: tuple[_Member, ...]
    wires: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    composed: tuple[tuple[str, Callable[[Any], Any]], ...]


def _shape(kind: type) -> _Shape:
    """Look into a dataclass once."""
    shape = _SHAPES.get(kind)
    if shape is None:
        shape = _SHAPES[kind] = _look_into(kind)
    return shape


def _look_into(kind: type) -> _Shape:
    hints = typing.get_type_hints(kind)
    members = tuple(
        _Member(
            member.metadata.get(WIRE, member.name),
            hints[member.name],
            hints[member.name] if hints[member.name] in _PLAIN else None,
            _reader(hints[member.name]),
            member.default,
        )
        for member in fields(kind)
    )
    wires = tuple(member.wire for member in members)
    composed = tuple((m.wire, _writer(m.kind)) for m in members if m.plain is None)
    return _Shape(members, wires, _values_of([member.name for member in fields(kind)]), composed)


def _writer(kind: Any) -> Callable[[Any], Any]:
    """Choose how a value of a type is written."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return str
    is_array = typing.get_origin(kind) is tuple
    return list if is_array and typing.get_args(kind)[0] in _PLAIN else to_struct


def _values_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


_SHAPES: dict[type, _Shape] = {}
