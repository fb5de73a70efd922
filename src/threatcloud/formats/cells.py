"""Cells of tables: a value is text, whatever a spreadsheet would make of it."""

from typing import Final

#: What a spreadsheet takes for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def neutral(text: str) -> str:
    """The text, with an apostrophe before it where it would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
