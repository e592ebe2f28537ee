"""Pickles read as data: nothing that they name is imported, called or made.

A pickle is a program for a small machine. This one knows the instructions that make numbers, texts, lists, dicts and
sets, and takes an object of a class that the caller expects for its attributes. Everything else ends the reading. What
it makes is no larger than the file allows: containers that are used twice, by which a few bytes become a tree without
end, are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any


class Refused(ValueError):
    """A pickle that is damaged, or does more than hold data."""


class Object:
    """An object by its class and attributes."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: tuple[str, str]) -> None:
        self.kind = kind
        self.state: dict[Any, Any] = {}


class _Class:
    __slots__ = ("kind",)

    def __init__(self, kind: tuple[str, str]) -> None:
        self.kind = kind


_MARK = object()


def loads(data: bytes, classes: Collection[tuple[str, str]] = ()) -> Any:
    """What a pickle holds; objects of `classes` come as `Object`. Raises `Refused`."""
    machine = _Machine(data, classes)
    try:
        return machine.run()
    except Refused:
        raise
    except (struct.error, IndexError, UnicodeDecodeError, TypeError, OverflowError) as error:
        raise Refused(f"no whole pickle at byte {machine.at}: {error}") from None


class _Machine:
    def __init__(self, data: bytes, classes: Collection[tuple[str, str]]) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.classes = classes

    def run(self) -> Any:
        data, known = self.data, _INSTRUCTIONS
        while True:
            code = data[self.at]
            if code == 0x2E:  # STOP
                if len(self.stack) != 1 or self.stack[0] is _MARK:
                    raise Refused(f"{len(self.stack)} values at its end, expected one")
                return self.stack[0]
            instruction = known.get(code)
            if instruction is None:
                raise Refused(f"instruction {bytes([code])!r} at byte {self.at}, which plain data has no use for")
            self.at += 1
            instruction(self)

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise Refused(f"it ends within a value of {count} bytes at byte {self.at}")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def skip(self, count: int) -> None:
        self.take(count)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Refused("it ends within a name")
        return self.take(end + 1 - self.at)[:-1].decode()

    def items(self) -> list[Any]:
        """What is above the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                above = self.stack[place + 1 :]
                del self.stack[place:]
                return above
        raise Refused("a mark is missing")

    def top(self, kind: type[Any]) -> Any:
        value = self.stack[-1]
        if type(value) is not kind:
            raise Refused(f"expected a {kind.__name__} at byte {self.at}, found a {type(value).__name__}")
        return value

    def protocol(self, number: int) -> None:
        if number > 5:
            raise Refused(f"protocol {number}, expected 5 at most")

    def named(self, module: Any, name: Any) -> None:
        if (module, name) not in self.classes:
            raise Refused(f"it names {module}.{name}, which is not made: it may run code")
        self.stack.append(_Class((module, name)))

    def made(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if arguments != () or type(kind) is not _Class:
            raise Refused(f"an object that is made of arguments at byte {self.at}")
        self.stack.append(Object(kind.kind))

    def built(self) -> None:
        state = self.stack.pop()
        if type(state) is not dict:
            raise Refused(f"attributes that are no dict at byte {self.at}")
        self.top(Object).state = state

    def set_items(self, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise Refused(f"a key without a value at byte {self.at}")
        target = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2]):
            if type(key) is not str and type(key) is not int:
                raise Refused(f"a key that is a {type(key).__name__} at byte {self.at}")
            target[key] = value

    def append(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def add(self, values: list[Any]) -> None:
        if not all(type(value) is str for value in values):
            raise Refused(f"a set of other than texts at byte {self.at}")
        self.top(set).update(values)

    def group(self, count: int) -> None:
        if count > len(self.stack):
            raise Refused("a value is missing")
        values = tuple(self.stack[len(self.stack) - count :])
        if any(value is _MARK for value in values):
            raise Refused("a mark within a tuple")
        del self.stack[len(self.stack) - count :]
        self.stack.append(values)

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        if place not in self.memo:
            raise Refused(f"value {place} is used before it is made")
        value = self.memo[place]
        if isinstance(value, (list, dict, set, tuple, Object)) and value != ():
            raise Refused(f"a {type(value).__name__} that is used twice")
        self.stack.append(value)

    def floats(self) -> None:
        """A number, and those that follow on it: vectors are long runs of them."""
        begin, count = self.at - 1, 1
        while self.data[begin + 9 * count : begin + 9 * count + 1] == b"G":
            count += 1
        if begin + 9 * count > len(self.data):
            raise Refused("it ends within a number")
        self.stack += struct.unpack_from(">" + "xd" * count, self.data, begin)
        self.at = begin + 9 * count


def _pushed(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value)


def _number(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.number(form))


def _text(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.take(machine.number(form)).decode())


# By their names in pickletools.
_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: m.protocol(m.number("B")),  # PROTO
    0x95: lambda m: m.skip(8),  # FRAME
    0x28: _pushed(_MARK),  # MARK
    0x7D: lambda m: m.stack.append({}),  # EMPTY_DICT
    0x5D: lambda m: m.stack.append([]),  # EMPTY_LIST
    0x8F: lambda m: m.stack.append(set()),  # EMPTY_SET
    0x29: _pushed(()),  # EMPTY_TUPLE
    0x85: lambda m: m.group(1),  # TUPLE1
    0x86: lambda m: m.group(2),  # TUPLE2
    0x87: lambda m: m.group(3),  # TUPLE3
    0x74: lambda m: m.stack.append(tuple(m.items())),  # TUPLE
    0x75: lambda m: m.set_items(m.items()),  # SETITEMS
    0x73: lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),  # SETITEM
    0x65: lambda m: m.append(m.items()),  # APPENDS
    0x61: lambda m: m.append([m.stack.pop()]),  # APPEND
    0x90: lambda m: m.add(m.items()),  # ADDITEMS
    0x4E: _pushed(None),  # NONE
    0x88: _pushed(True),  # NEWTRUE
    0x89: _pushed(False),  # NEWFALSE
    0x4B: _number("B"),  # BININT1
    0x4D: _number("<H"),  # BININT2
    0x4A: _number("<i"),  # BININT
    0x8A: lambda m: m.stack.append(int.from_bytes(m.take(m.number("B")), "little", signed=True)),  # LONG1
    0x47: _Machine.floats,  # BINFLOAT
    0x8C: _text("B"),  # SHORT_BINUNICODE
    0x58: _text("<I"),  # BINUNICODE
    0x8D: _text("<Q"),  # BINUNICODE8
    0x71: lambda m: m.put(m.number("B")),  # BINPUT
    0x72: lambda m: m.put(m.number("<I")),  # LONG_BINPUT
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    0x68: lambda m: m.get(m.number("B")),  # BINGET
    0x6A: lambda m: m.get(m.number("<I")),  # LONG_BINGET
    0x63: lambda m: m.named(m.line(), m.line()),  # GLOBAL
    0x93: lambda m: m.named(m.stack.pop(-2), m.stack.pop()),  # STACK_GLOBAL
    0x81: lambda m: m.made(),  # NEWOBJ
    0x62: lambda m: m.built(),  # BUILD
}
