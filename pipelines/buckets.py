"""What to do about what a bucket answered: its libraries name the call and the cause, and no way out."""

from __future__ import annotations

import os
import re

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
# As pyarrow and as botocore have it.
_WAYS = (
    (r"NO_SUCH_BUCKET|NoSuchBucket", "make the bucket, or mend the address"),
    (r"locate credentials", f"give keys by {_KEYS}"),
    (r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT|: Forbidden|Access ?Denied|ExpiredToken", f"see {_KEYS}, and their rights"),
    (r"NETWORK_CONNECTION|REQUEST_TIMEOUT|endpoint URL|[Tt]imeout", "see that the server runs, and AWS_ENDPOINT_URL"),
)
_OF_A_BUCKET = re.compile(r"AWS Error|s3a?://")


def way_out(said: str) -> str:
    """The end of a line about a bucket: what to see to; "" where it is not about one, or nothing is known.

    >>> way_out("'s3://music/deep': Forbidden")
    '; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials, and their rights'
    >>> way_out("/music: Forbidden")
    ''
    """
    if not _OF_A_BUCKET.search(said):
        return ""
    return next((f"; {way}" for pattern, way in _WAYS if re.search(pattern, said)), "")


def check_endpoint() -> None:
    """Refuse a password in the address of the server.

    Raises:
        ValueError: there is one: no library sends it, and one shows it.
    """
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        if re.match(r"[^/]*://[^/]*@", os.environ.get(name, "")):
            raise ValueError(f"{name}: addresses are shown, and a password in one opens no bucket; give keys by {_KEYS}")
