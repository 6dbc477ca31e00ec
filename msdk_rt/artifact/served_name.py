"""The name under which a server offers a model."""

from msdk_rt.errors import InputError


def served_name_of(text: str, how: str) -> str:
    """A name that can stand in an address and be a folder's. how: users give one. Raises InputError."""
    if not text or not all(letter.isalnum() or letter in "-_." for letter in text):
        raise InputError(f"{text!r} is no name of a model: give letters, digits, - _ and . {how}")
    return text
