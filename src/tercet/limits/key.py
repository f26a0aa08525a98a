"""The name under which a limit is counted in Redis."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from tercet.errors import UsageError
from tercet.wire import checked_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tercet.limits.rate import Rate

# What a name in Redis may carry of a key; a longer one is replaced by its digest.
KEY_BYTES_MAX = 128

# 160 bits: two keys with one digest would share a limit, and nobody can find two.
DIGEST_BYTES = 20

# What begins a digest; a key that begins so is digested itself, so that none can pass for another's digest.
DIGEST_MARK = b"#"

# What would end or open a hash tag: such a key is digested, and the tag stays the whole of it.
_BRACES = re.compile(rb"[{}]")


def named(text: object, what: str) -> str:
    """The text, if it can stand in a name; SettingInvalid if it cannot."""
    return checked_name(text, what, where="Limits")


def suffix(name: str | None, rates: Sequence[Rate]) -> bytes:
    """What tells one limit from another on the same key.

    Without a name it is the rates themselves. With one it is the name and the periods: a count or a burst that
    changes in a deploy finds what was used before, as the same share of the new one.
    """
    if name is None:
        return ",".join(map(str, rates)).encode()
    # The periods as a rate writes them, which are what follows the stroke.
    periods = (str(rate).partition("/")[2].partition("+")[0] for rate in rates)
    return f"{name}:{','.join(periods)}".encode()


def tag(key: object) -> bytes:
    """The key as it stands between the braces of a hash tag; UsageError for what is no key."""
    if not isinstance(key, str) or not key:
        raise UsageError(
            f"A limit cannot be checked for {key!r}.", "Give it whom to count as a text, such as f'user:{user_id}'."
        )
    written = key.encode("utf-8", "surrogatepass")
    if len(written) > KEY_BYTES_MAX or written.startswith(DIGEST_MARK) or _BRACES.search(written):
        return DIGEST_MARK + blake2b(written, digest_size=DIGEST_BYTES).hexdigest().encode()
    return written
