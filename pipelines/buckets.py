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
    # What a request without an answer's body has in place of ExpiredToken or the region's name.
    (
        r"HTTP status (301|400)\) during Head|Bad Request|PermanentRedirect",
        f"see {_KEYS}, whether their session has ended, and AWS_REGION",
    ),
    (r"HTTP status 50\d|SLOW_?DOWN|SlowDown|Service Unavailable|Internal Server", "the same command goes on once the server can"),
    (r"NETWORK_CONNECTION|REQUEST_TIMEOUT|endpoint URL|[Tt]imeout", "see that the server runs, and AWS_ENDPOINT_URL"),
)
_OF_A_BUCKET = re.compile(r"AWS Error|s3a?://")


def way_out(said: str) -> str:
    """The end of a line about a bucket: what to see to; "" where it is not about one, or nothing is known.

    >>> way_out("'s3://music/deep': Forbidden")
    '; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials, and their rights'
    >>> way_out("/music: Forbidden")
    ''
    >>> way_out("'s3://music/deep': [Errno 16] Service Unavailable")
    '; the same command goes on once the server can'
    >>> way_out("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation").endswith("has ended, and AWS_REGION")
    True
    """
    if not _OF_A_BUCKET.search(said):
        return ""
    return next((f"; {way}" for pattern, way in _WAYS if re.search(pattern, said)), "")


def prepare(address: str) -> None:
    """See to the environment by which a bucket is opened.

    AWS's libraries add a checksum behind what they upload, which many servers of one's own do not understand: Ceph's answers
    411. Where the server is not AWS's it is left out, unless AWS_REQUEST_CHECKSUM_CALCULATION says something.

    Raises:
        ValueError: the address of the server has a place for a password: no library sends it, and one shows it.
    """
    endpoints = {name: os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")}
    for name, endpoint in endpoints.items():
        if re.search("[@?#]", endpoint):
            raise ValueError(f"{name}: addresses are shown, and a password in one opens no bucket; give keys by {_KEYS}")
    if any(endpoints.values()) or "endpoint_override=" in address:
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
