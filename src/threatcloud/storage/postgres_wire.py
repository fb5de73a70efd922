"""The wire to a PostgreSQL server, through libpq in pipeline mode: what needs no answer travels with what does.

A statement costs a third of what a cursor of psycopg costs: it is prepared once under its parameters' types, values go
and come in binary, and nothing is looked up for it but a name.
"""

import select
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_TEXT, _BYTES, _WHOLE, _DOUBLE = 25, 17, 20, 701
#: The types of the engine whose arrays can be said, and those of the arrays.
ARRAYS: Final = {_TEXT: 1009, _BYTES: 1001, _WHOLE: 1016, _DOUBLE: 1022}
_INT: Final = struct.Struct(">q").pack
_FLOAT: Final = struct.Struct(">d").pack
_LENGTH: Final = struct.Struct(">i").pack
_INT_ITEM: Final = struct.Struct(">iq").pack
_FLOAT_ITEM: Final = struct.Struct(">id").pack
_NULL: Final = _LENGTH(-1)
_BINARY: Final = 1
#: How many statements are kept prepared, and how many are said before their answers are read.
_MAX_PREPARED: Final = 500
_MAX_UNSENT: Final = 1_000
_OK: Final = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY}

#: Waits until the socket of this number can be read (or also written).
Wait = Callable[[int, bool], None]
Statement = tuple[bytes, tuple[int, ...]]


def wait_here(socket: int, writing: bool) -> None:
    """Waits in this thread, for as long as it takes."""
    waited(socket, writing, None)


def waited(socket: int, writing: bool, most_s: float | None) -> bool:
    """Waits in this thread, so long at most (None: for as long as it takes); whether there is something."""
    poll = select.poll()
    poll.register(socket, select.POLLIN | (select.POLLOUT if writing else 0))
    return bool(poll.poll(None if most_s is None else most_s * 1000))


class Dumped(NamedTuple):
    """A parameter as it is sent: the number of its type, and its binary form."""

    type: int
    form: bytes


class Wire:
    """One connection. ``add`` says a statement without waiting for its end, ``ask`` waits for all that was said."""

    def __init__(self, pgconn: PGconn, wait: Wait = wait_here) -> None:
        self._pgconn = pgconn
        self.wait = wait
        self._prepared: dict[Statement, bytes] = {}
        self._names = 0
        #: What was said since the last sync: the statement that was only prepared, or None where one was run.
        self._said: list[Statement | None] = []
        self._waiting_syncs = 0
        self._take_up()

    def _take_up(self) -> None:
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()

    @contextmanager
    def put_aside(self) -> Iterator[None]:
        """Lets the connection be used without a pipeline."""
        self.settle()
        self._pgconn.exit_pipeline_mode()
        self._pgconn.nonblocking = 0
        try:
            yield
        finally:
            if self._pgconn.status == ConnStatus.OK:
                self._take_up()

    def add(self, text: bytes, params: Sequence[Any] = ()) -> None:
        """Says a statement whose rows do not matter; if it fails the next ``ask`` or ``settle`` raises that."""
        if len(self._said) >= _MAX_UNSENT:
            self.settle()
        self._say(text, params)

    def ask(self, text: bytes, params: Sequence[Any] = ()) -> PGresult:
        """The result of a statement, and of those before it that all went well. Raises what the first error is."""
        self._say(text, params)
        self._pgconn.pipeline_sync()
        self._waiting_syncs += 1
        return self._read()

    def settle(self) -> None:
        """Waits for all that was said. Raises what the first error is."""
        if self._said:
            self._pgconn.pipeline_sync()
            self._waiting_syncs += 1
        if self._waiting_syncs:
            self._read()

    def end(self, text: bytes) -> None:
        """Says a statement that nobody waits for: it goes with what comes next, or by ``send``, and its end is read
        with what comes next."""
        self._say(text, ())

    def send(self) -> None:
        """Sends what was said and has not gone yet."""
        if self._said and self._pgconn.status == ConnStatus.OK:
            self._pgconn.pipeline_sync()  # which also sends it
            self._waiting_syncs += 1
            self._said.clear()

    def forget(self) -> None:
        """Drops what is prepared where that has become much."""
        if len(self._prepared) > _MAX_PREPARED:
            self._prepared.clear()
            self.ask(b"DEALLOCATE ALL")

    def _say(self, text: bytes, params: Sequence[Any]) -> None:
        oids, values, formats = [], [], []
        for value in params:
            oid, dumped, format_ = dump(value)
            oids.append(oid)
            values.append(dumped)
            formats.append(format_)
        statement = (text, tuple(oids))
        name = self._prepared.get(statement)
        if name is None:
            self._names += 1
            name = self._prepared[statement] = b"tc%d" % self._names
            self._pgconn.send_prepare(name, text, oids)
            self._said.append(statement)
        self._pgconn.send_query_prepared(name, values, formats, _BINARY)
        self._said.append(None)

    def _read(self) -> PGresult:
        """Reads until every sync has come back: the last result."""
        said, self._said = self._said, []
        try:
            return self._read_all()
        except errors.Error:
            for statement in said:
                if statement is not None:  # whether the server still came to it is not known
                    self._prepared.pop(statement, None)
            raise

    def _read_all(self) -> PGresult:
        pgconn = self._pgconn
        last = failed = None
        self._send_all()
        while self._waiting_syncs:
            result = self._next()
            if result.status in _OK:
                last = result
            elif result.status == ExecStatus.PIPELINE_SYNC:
                self._waiting_syncs -= 1
            elif result.status == ExecStatus.FATAL_ERROR:
                failed = failed or result
                if pgconn.status != ConnStatus.OK:
                    break
        if failed is not None:
            raise errors.error_from_result(failed)
        assert last is not None
        return last

    def _send_all(self) -> None:
        pgconn = self._pgconn
        while pgconn.flush():
            self.wait(pgconn.socket, True)
            pgconn.consume_input()

    def _next(self) -> PGresult:
        """The next result; after those of a statement libpq says None once."""
        pgconn = self._pgconn
        while True:
            while pgconn.is_busy():
                self.wait(pgconn.socket, False)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:
                return result
            if pgconn.status != ConnStatus.OK:
                raise errors.OperationalError("the connection is lost")


def dump(value: Any) -> tuple[int, bytes | None, int]:
    """The number of the type, the bytes, and the format (1: binary) of a parameter."""
    kind = type(value)
    if kind is int or kind is bool:
        return 20, _INT(value), 1
    if kind is str:
        return 0, _text(value), 0
    if value is None:
        return 0, None, 0
    if kind is float:
        return 701, _FLOAT(value), 1
    if kind is bytes:
        return 17, value, 1
    if kind is list:
        return *_dump_list(value), _BINARY
    if kind is Dumped:
        return *value, _BINARY
    return _dump_other(value)


def _dump_other(value: Any) -> tuple[int, bytes | None, int]:
    """Of enumerations and the like: what they are made of."""
    if isinstance(value, int):
        return dump(int(value))
    if isinstance(value, str):
        return dump(str.__str__(value))
    if isinstance(value, float):
        return dump(float(value))
    return dump(bytes(value))


def storable(value: str) -> str:
    """Without the one character that texts of the engine cannot hold: its symbol stands for it."""
    return value if "\0" not in value else value.replace("\0", "\u2400")


def _text(value: str) -> bytes:
    """In UTF-8."""
    return storable(value).encode()


def _dump_list(values: list[Any]) -> Dumped:
    """A list of one type, in which None may stand; of whole numbers where it has nothing else."""
    first = next((value for value in values if value is not None), 0)
    kinds = ((bytes, _BYTES), (str, _TEXT), (float, _DOUBLE))
    return dump_array(next((number for kind, number in kinds if isinstance(first, kind)), _WHOLE), values)


def dump_array(element: int, values: Sequence[Any]) -> Dumped:
    """Values of a type that is in ``ARRAYS``, or None, as an array
    (https://www.postgresql.org/docs/current/arrays.html; array_recv)."""
    if element == _WHOLE:
        items = [_NULL if value is None else _INT_ITEM(8, value) for value in values]
    elif element == _DOUBLE:
        items = [_NULL if value is None else _FLOAT_ITEM(8, value) for value in values]
    else:
        forms = values if element == _BYTES else [None if value is None else _text(value) for value in values]
        items = [_NULL if form is None else _LENGTH(len(form)) + form for form in forms]
    return Dumped(ARRAYS[element], struct.pack(">iiIii", 1, 1, element, len(values), 1) + b"".join(items))
