"""Ids that follow from a digest, in the form of a UUID (RFC 9562)."""

#: The digit of the variant, by what the digest has in its place.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid_of(digest: bytes, version: int) -> str:
    """The id of a digest of at least 16 bytes; as ``uuid.UUID`` makes it, in a third of the time."""
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"
