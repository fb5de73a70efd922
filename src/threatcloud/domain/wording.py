"""Small words of sentences made from data."""


def counted(count: int, noun: str) -> str:
    """``1 indicator``, ``0 indicators``, ``12 indicators``; for nouns whose plural has an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
