"""What a row of the table is."""

from collections.abc import Callable
from typing import NamedTuple

from bench.figures import Figures
from bench.served import Site

#: Takes the figures of a row at a site.
Measure = Callable[[Site], Figures]


class Row(NamedTuple):
    """One line of the table: its name, how it is measured, and what is wanted of it (see ``figures``)."""

    name: str
    measure: Measure
    wanted: str = ""
