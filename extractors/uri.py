"""Where a recording lies: a path or URI as text, and as a local file to read from."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

# "s3://…", and fsspec's chains such as "zip://a.wav::s3://…".
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")
_OF_THIS_MACHINE = re.compile(r"file://(localhost)?/", re.IGNORECASE)
# A name and a password before the host, and what signs or opens a bucket after the "?".
_SECRET = re.compile(
    r"://[^/@]*:[^/@]*@|[?&](access_key|secret_key|session_token|password|sas_token|sig|(x-(amz|goog)-)?signature|x-amz-security-token)=",
    re.IGNORECASE,
)
# Control characters, line separators, and the surrogates that stand for bytes which are not UTF-8.
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# In a folder a file is audio by its name; a file named singly or in a manifest is tried whatever it is called.
AUDIO = frozenset(
    (
        *("wav", "wave", "w64", "rf64", "bwf", "aif", "aiff", "aifc", "au", "snd", "caf", "flac", "wv", "ape", "tta", "mka"),
        *("mp3", "mp2", "mpga", "aac", "m4a", "m4b", "ogg", "oga", "opus", "wma", "amr", "ac3"),
    )
)


def called_audio(name: str) -> bool:
    """Whether a file is called like audio.

    >>> called_audio("/music/a.WAV"), called_audio("/music/._a.wav"), called_audio("/music/cover.jpg")
    (True, False, False)
    """
    name = name.rpartition("/")[2]
    # macOS leaves a ._ file with a document's icon beside each document on foreign disks.
    return name.rpartition(".")[2].lower() in AUDIO and "." in name and not name.startswith("._")


def is_uri(text: str) -> bool:
    """Whether text is a URI rather than a path.

    >>> is_uri("s3://bucket/a.wav"), is_uri("/music/a.wav"), is_uri("a:b.wav")
    (True, False, False)
    """
    return _SCHEME.match(text) is not None


def is_local(uri: str) -> bool:
    """Whether a path or URI names a file of this machine."""
    return not is_uri(uri) or _OF_THIS_MACHINE.match(uri) is not None


def without_secrets(uri: str) -> str:
    """The URI itself, if it says nothing that must not be stored, shown or logged.

    Raises:
        ValueError: it does; the message does not repeat it.

    >>> without_secrets("https://ada:pw@example.org/a.wav")
    Traceback (most recent call last):
    ValueError: https://…@example.org/a.wav: addresses are stored and shown, so no password belongs in them; give it by the environment
    """
    found = _SECRET.search(uri)
    if not is_uri(uri) or is_local(uri) or not (found or _SECRET.search(unquote(uri))):
        return uri
    place, asked, _ = uri.partition("?")
    if found and found.end() <= len(place):
        place = place[: place.index("://") + 3] + "…@" + place[found.end() :]
    shown = place + (asked and "?…")
    raise ValueError(f"{printable(shown)}: addresses are stored and shown, so no password belongs in them; give it by the environment")


def to_uri(path: str | bytes) -> str:
    r"""The text under which a local path is stored: itself, absolute, or a file:// URI where it is not clean UTF-8.

    >>> to_uri("/music/Für Elise.wav"), to_uri(b"/music/caf\xe9\n.wav")
    ('/music/Für Elise.wav', 'file:///music/caf%E9%0A.wav')
    """
    absolute = os.path.abspath(os.fsdecode(path))
    if _HOSTILE.search(absolute):
        return "file://" + quote_from_bytes(os.fsencode(absolute), safe="/")
    return absolute


def to_path(uri: str) -> str:
    r"""The local path that a stored text means; bytes that are not UTF-8 as surrogates.

    Raises:
        ValueError: the URI is not of this machine.

    >>> to_path("file:///music/caf%E9.wav")
    '/music/caf\udce9.wav'
    """
    if not is_uri(uri):
        return uri
    if not is_local(uri):
        raise ValueError(f"{uri!r}: not a file of this machine")
    return os.fsdecode(unquote_to_bytes(uri[uri.index("/", len("file://")) :]))


def printable(text: str) -> str:
    r"""Text that can be stored and printed on one line: what is not clean UTF-8 is escaped.

    >>> printable("caf\udce9\n")
    'caf\\xe9\\n'
    """
    as_bytes = text.encode("utf-8", "surrogateescape" if encodes(text, "surrogateescape") else "backslashreplace")
    return _HOSTILE.sub(lambda found: ascii(found[0])[1:-1], as_bytes.decode("utf-8", "backslashreplace"))


def shown(uri: str) -> str:
    r"""An address for people: a path, where it is one of this machine.

    >>> shown("file:///music/caf%E9.wav"), shown("s3://bucket/a.mp3")
    ('/music/caf\\xe9.wav', 's3://bucket/a.mp3')
    """
    return printable(to_path(uri) if is_local(uri) else uri)


@contextlib.contextmanager
def open_local(uri: str) -> Iterator[str]:
    """The path of a local file with this content: the file itself, or a temporary copy of a remote one.

    The copy bears the remote file's name, streams to disk in bounded memory and goes when the `with` ends.

    Raises:
        FileNotFoundError: the remote file does not exist.
        RemoteError: it cannot be fetched.
        OSError: the temporary folder is full (ENOSPC).
    """
    if is_local(uri):
        yield to_path(uri)
        return
    from extractors.remote import fetch

    with tempfile.TemporaryDirectory(prefix="earmark-", ignore_cleanup_errors=True) as folder:
        yield fetch(uri, folder)


def encodes(text: str, errors: str = "strict") -> bool:
    """Whether text can be written as UTF-8."""
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True
