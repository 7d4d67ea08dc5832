"""Rows in columns: millions of pictures in about a hundred bytes each.

As Python objects the facts of a picture take more than a kilobyte. Here each field of all rows is
one array, and a row is an object only while somebody looks at it.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, Self, TypeVar, overload

import numpy as np

_BLOCK = 1 << 16
"""Values that are gathered at once: the places of their items take memory too."""

Row_co = TypeVar("Row_co", covariant=True)


class Column(Protocol):
    """The values of one field."""

    def append(self, value: Any) -> None:
        """Adds a value."""
        ...

    def taken(self, places: np.ndarray) -> Self:
        """Returns the values at some places, as a column of its own."""
        ...

    def __getitem__(self, place: int) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


class Numbers:
    """Whole numbers of one size, or truth values.

    Args:
        kind: Type of the numbers, as of `array.array`.
        numbers: The first ones.
    """

    def __init__(self, kind: str, numbers: Iterable[int] = ()):
        self.data = array(kind, numbers)

    @property
    def values(self) -> np.ndarray:
        """All of them, without a copy; nothing can be added while this is held."""
        return np.frombuffer(self.data, self.data.typecode)

    def append(self, value: int) -> None:
        """Adds a number."""
        self.data.append(value)

    def taken(self, places: np.ndarray) -> "Numbers":
        """Returns the numbers at some places."""
        made = Numbers(self.data.typecode)
        made.data.frombytes(bytes(len(places) * made.data.itemsize))
        np.take(self.values, places, out=made.values, mode="clip")
        return made

    def __getitem__(self, place: int) -> int:
        return self.data[place]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class Truths(Numbers):
    """Truth values."""

    def __init__(self, truths: Iterable[bool] = ()):
        super().__init__("B", truths)

    def taken(self, places: np.ndarray) -> "Truths":
        """Returns the values at some places."""
        return Truths(self.values[places].tolist())

    def __getitem__(self, place: int) -> bool:
        return bool(self.data[place])

    def __iter__(self) -> Iterator[bool]:
        return map(bool, self.data)


class Choices(Numbers):
    """One of a few values each, by its number among them.

    Args:
        among: The values that there can be.
        numbers: Numbers of the first ones.
    """

    def __init__(self, among: Sequence[Any], numbers: Iterable[int] = ()):
        super().__init__("B", numbers)
        self.among = tuple(among)

    def append(self, value: Any) -> None:
        """Adds a value."""
        self.data.append(self.among.index(value))

    def taken(self, places: np.ndarray) -> "Choices":
        """Returns the values at some places."""
        return Choices(self.among, super().taken(places).data)

    def counts(self) -> Mapping[Any, int]:
        """Returns how often each value stands there."""
        found = np.bincount(self.values, minlength=len(self.among)).tolist()
        return dict(zip(self.among, found, strict=True))

    def __getitem__(self, place: int) -> Any:
        return self.among[self.data[place]]

    def __iter__(self) -> Iterator[Any]:
        return map(self.among.__getitem__, self.data)


class Hashes:
    """Hashes of one length, given and returned in hexadecimal digits.

    Args:
        digits: Their number in each.
    """

    def __init__(self, digits: int):
        self._digits = digits
        self._data = bytearray()

    @property
    def values(self) -> np.ndarray:
        """All of them, uint8 [n, digits / 2]; nothing can be added while this is held."""
        return np.frombuffer(self._data, np.uint8).reshape(-1, self._digits // 2)

    def append(self, value: str) -> None:
        """Adds a hash."""
        if len(value) != self._digits:
            raise ValueError(f"{value!r} has not {self._digits} digits")
        self._data += bytes.fromhex(value)

    def taken(self, places: np.ndarray) -> "Hashes":
        """Returns the hashes at some places."""
        made = Hashes(self._digits)
        made._data = bytearray(len(places) * self._digits // 2)
        np.take(self.values, places, axis=0, out=made.values, mode="clip")
        return made

    def __getitem__(self, place: int) -> str:
        place = range(len(self))[place]
        size = self._digits // 2
        return self._data[place * size : (place + 1) * size].hex()

    def __iter__(self) -> Iterator[str]:
        digits, bytes_at_once = self._digits, _BLOCK * self._digits // 2
        for first in range(0, len(self._data), bytes_at_once):
            text = self._data[first : first + bytes_at_once].hex()
            yield from (text[k : k + digits] for k in range(0, len(text), digits))

    def __len__(self) -> int:
        return 2 * len(self._data) // self._digits


class Lists(Sequence[tuple[int, ...]]):
    """Lists of whole numbers from 0, of any length each.

    Args:
        lists: The first ones.
    """

    def __init__(self, lists: Iterable[Iterable[int]] = ()):
        self._ends, self._numbers = array("I", [0]), array("i")
        for one in lists:
            self.append(one)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of all lists, one after another; nothing can be added meanwhile."""
        return np.frombuffer(self._numbers, self._numbers.typecode)

    @property
    def starts(self) -> np.ndarray:
        """Where each list begins among them, and where the last one ends, uint32 [n + 1]."""
        return np.frombuffer(self._ends, np.uint32)

    def append(self, value: Iterable[int]) -> None:
        """Adds a list."""
        self._numbers.extend(value)
        self._ends.append(len(self._numbers))

    def taken(self, places: np.ndarray) -> "Lists":
        """Returns the lists at some places."""
        made = Lists()
        for ends, where in _parts(self.starts, places):
            made._ends.frombytes((ends + len(made._numbers)).astype(np.uint32).tobytes())
            made._numbers.frombytes(self.numbers[where].tobytes())
        return made

    @overload
    def __getitem__(self, place: int) -> tuple[int, ...]: ...

    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, ...]]: ...

    def __getitem__(self, place: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(place, slice):
            return [self[k] for k in range(len(self))[place]]
        place = range(len(self))[place]
        return tuple(self._numbers[self._ends[place] : self._ends[place + 1]])

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (tuple(self._numbers[start:end]) for start, end in pairwise(self._ends))

    def __len__(self) -> int:
        return len(self._ends) - 1


class Texts(Sequence[str]):
    """Texts of any length.

    Args:
        texts: The first ones.
    """

    def __init__(self, texts: Iterable[str] = ()):
        self._ends, self._data = array("Q", [0]), bytearray()
        for text in texts:
            self.append(text)

    def append(self, value: str) -> None:
        """Adds a text."""
        # A file may have a name that is no Unicode, which Python spells with surrogates.
        self._data += value.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._data))

    def order(self) -> np.ndarray:
        """Returns the places of the texts in their order, int64 [n]."""
        return np.array(sorted(range(len(self)), key=self.__getitem__), np.int64)

    def taken(self, places: np.ndarray) -> "Texts":
        """Returns the texts at some places."""
        made, data = Texts(), np.frombuffer(self._data, np.uint8)
        for ends, where in _parts(np.frombuffer(self._ends, np.int64), places):
            made._ends.frombytes((ends + len(made._data)).tobytes())
            made._data += data[where].tobytes()
        return made

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[k] for k in range(len(self))[place]]
        place = range(len(self))[place]
        text = self._data[self._ends[place] : self._ends[place + 1]]
        return text.decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start, end in pairwise(self._ends):
            yield self._data[start:end].decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return len(self._ends) - 1


def _parts(starts: np.ndarray, places: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields, for a block of places at a time, where their values end and which items they are."""
    for first in range(0, len(places), _BLOCK):
        here = places[first : first + _BLOCK]
        begins = starts[here].astype(np.int64)
        lengths = starts[here + 1] - begins
        ends = np.cumsum(lengths)
        yield ends, np.arange(ends[-1]) + np.repeat(begins - ends + lengths, lengths)


class Table(Sequence[Row_co]):
    """Rows of one kind.

    An index that is a slice or an array gives some of the rows, which share the columns.

    Args:
        columns: The fields by name, in the order of the row's arguments.
        places: Which rows of the columns; none: all.
    """

    def __init__(self, columns: Mapping[str, Column], places: np.ndarray | None = None):
        self._columns, self._places = columns, places

    @classmethod
    def _empty(cls) -> Mapping[str, Column]:
        raise NotImplementedError

    def _row(self, values: Iterable[Any]) -> Row_co:
        raise NotImplementedError

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Self:
        """Makes a table of rows."""
        made = cls(cls._empty())
        for row in rows:
            made.append(row)
        return made

    def append(self, row: Any) -> None:
        """Adds a row."""
        assert self._places is None, "rows are added to columns, not to a view of some rows"
        for name, column in self._columns.items():
            column.append(getattr(row, name))

    def cell(self, name: str, place: int) -> Any:
        """Returns one field of a row."""
        return self._columns[name][place if self._places is None else int(self._places[place])]

    def column(self, name: str) -> Any:
        """Returns the column of a field, of these rows alone."""
        column = self._columns[name]
        return column if self._places is None else column.taken(self._places)

    def columns(self) -> dict[str, Any]:
        """Returns all columns by name, of these rows alone."""
        return {name: self.column(name) for name in self._columns}

    @overload
    def __getitem__(self, index: int) -> Row_co: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Self: ...

    def __getitem__(self, index: int | slice | np.ndarray) -> Row_co | Self:
        if isinstance(index, slice):
            index = np.arange(len(self))[index]
        if isinstance(index, np.ndarray) and index.ndim:
            index = np.flatnonzero(index) if index.dtype == bool else index
            if index.min(initial=0) < 0 or index.max(initial=-1) >= len(self):
                raise IndexError(f"rows {index.min()} to {index.max()} of {len(self)}")
            return type(self)(self._columns, index if self._places is None else self._places[index])
        place = range(len(self))[index]
        place = place if self._places is None else int(self._places[place])
        return self._row(column[place] for column in self._columns.values())

    def __iter__(self) -> Iterator[Row_co]:
        if self._places is None:
            yield from map(self._row, zip(*self._columns.values(), strict=True))
            return
        for first in range(0, len(self), _BLOCK):
            here = self._places[first : first + _BLOCK]
            columns = (column.taken(here) for column in self._columns.values())
            yield from map(self._row, zip(*columns, strict=True))

    def __len__(self) -> int:
        return (
            len(next(iter(self._columns.values()))) if self._places is None else len(self._places)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]
