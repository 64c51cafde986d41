"""The one door to Label Studio: reads are repeated until they come; a write is sent once, and ends as done, refused or unknown."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from annotation.outcome import NEW_TOKEN, Away, Gone, Refused, StudioError, Unknown, meaning
from annotation.shape import unlike

LARGEST = 1 << 29  # bytes of an answer, unpacked
LONG = 600.0  # seconds that a write may take; the server works on after its client has gone


class Door:
    """Calls to a Label Studio server with an account's token for it; `annotation.studio.Studio` knows what to ask.

    The SDK gives address, tokens and transport, with its retries off: they send again what was stored already. Answers are taken as the
    server wrote them, as the SDK's models drop what they do not know; whoever asks says what shape they need to have (`annotation.shape`).

    clock: the server's, to the second, as of its last answer; None before the first.

    Args:
        url: http://HOST:PORT. token: of either kind, from "Account & Settings"; it appears in no message.
        patience: seconds for which a read is repeated. pause: seconds before the first repetition; later ones wait up to 50 times as long.
    Raises:
        StudioError: this is no address, or no token.
    """

    def __init__(self, url: str, token: str, patience: float, pause: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise StudioError(f"{parts.hostname or 'Label Studio'}: not an address as http://host:8080; passwords do not belong in it")
        self.url = url.rstrip("/")
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise StudioError(f"{self.url}: no token; {NEW_TOKEN}")
        self.patience, self.pause = patience, pause
        self._token = token
        self.clock: datetime | None = None
        self._connect()

    def __repr__(self) -> str:
        return f"Door({self.url!r})"

    def _connect(self) -> None:
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        # Not the SDK's client as a whole: that imports pandas and what checks tasks, which takes longer than most pulls.
        from label_studio_sdk.core.client_wrapper import SyncClientWrapper

        # A redirected POST would become a GET, and look as if it had been done.
        # Reading the certificates of the world takes longer than most pulls, and http:// has no use for them.
        client = httpx.Client(follow_redirects=False, limits=httpx.Limits(max_connections=16), verify=self.url.startswith("https:"))
        try:
            sdk = SyncClientWrapper(base_url=f"{self.url}/", api_key=self._token, max_retries=0, httpx_client=client)
        except ApiError as error:  # a token that has a date, which is over
            raise meaning(f"{self.url}: signing in", int(error.status_code or 500), json.dumps(error.body), self._token) from None
        self._transport = sdk.httpx_client

    def read(self, place: str, doing: str, shape: Any, timeout: float = 60.0, body: Any = None, **params: Any) -> Any:
        """Ask until an answer comes; a body makes it a POST that changes nothing.

        Args:
            place: the call's path. doing: what messages call it. shape: of the answer, as `annotation.shape.unlike` takes it.
        Raises:
            Refused, Gone: the server said no. Away: it gave no answer. StudioError: it gave one of another shape.
        """
        began, pause = time.monotonic(), self.pause
        while True:
            try:
                answer = self._send("POST" if body is not None else "GET", place, doing, body, params, timeout)
                break
            except Unknown as error:
                if time.monotonic() - began + pause > self.patience:
                    raise Away(f"{error}; tried for {self.patience:g} s. Is it running? 'earmark campaign serve' starts one") from None
            time.sleep(pause * random.uniform(0.5, 1))  # several clients that were refused at once do not come back at once
            pause = min(pause * 2, self.pause * 50)
        if said := self._strange(answer, shape):
            raise StudioError(f"{self.url}: {doing}: {said}")
        return answer

    def write(self, method: str, place: str, doing: str, body: Any, shape: Any = object, **params: Any) -> Any:
        """Send once.

        Raises:
            Refused, Gone: the server said no. Unknown: what became of it cannot be said; an answer of another shape says nothing either.
        """
        answer = self._send(method, place, doing, body, params, LONG)
        if said := self._strange(answer, shape):
            raise Unknown(f"{self.url}: {doing}: {said}")
        return answer

    def delete(self, place: str, doing: str) -> None:
        """Delete what is there; what is gone already is gone."""
        with suppress(Gone):
            self.write("DELETE", place, doing, None)

    def _strange(self, answer: Any, shape: Any) -> str:
        said = unlike(answer, shape).replace(self._token, "...")
        return f"{said}; is this Label Studio, in a version that earmark knows? 'earmark campaign serve' starts one" if said else ""

    def _send(self, method: str, place: str, doing: str, body: Any, params: Mapping[str, Any], timeout: float) -> Any:
        """One call.

        Raises:
            Refused, Gone: the server said no. Unknown: what became of it cannot be said.
        """
        status, text = self._call(method, place, doing, body, params, timeout)
        if status == 401 and self._token.count(".") == 2:
            # Access tokens live for five minutes of the server's clock, and ours may differ. A refused call did nothing: once more is safe.
            self._connect()
            status, text = self._call(method, place, doing, body, params, timeout)
        if 200 <= status < 300:
            try:
                return json.loads(text) if text else None
            except (ValueError, RecursionError):
                raise Unknown(f"{self.url}: {doing}: the answer is not JSON; is there Label Studio at this address?") from None
        raise meaning(f"{self.url}: {doing}", status, text, self._token)

    def _call(self, method: str, place: str, doing: str, body: Any, params: Mapping[str, Any], timeout: float) -> tuple[int, str]:
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        try:
            content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # NaN, or half a character
            raise Refused(f"{self.url}: {doing}: {error}; such a value cannot be sent") from None
        try:
            with self._transport.stream(
                place,
                method=method,
                params=dict(params),
                content=content,
                headers={"content-type": "application/json"} if content else None,
                request_options={"max_retries": 0, "timeout": httpx.Timeout(timeout, connect=10.0)},
            ) as response:
                text = self._text(response, doing)
        except ApiError as error:  # from fetching an access token
            return int(error.status_code or 500), json.dumps(error.body)
        except Unknown:
            raise
        except (ValueError, RecursionError):  # from it, too
            raise Unknown(f"{self.url}: {doing}: no access token came; is there Label Studio at this address?") from None
        except httpx.RequestError as error:  # on the way, or an answer that cannot be unpacked
            why = str(error) or type(error).__name__
            raise Unknown(f"{self.url}: {doing}: {'no answer in time' if isinstance(error, httpx.TimeoutException) else why}") from None
        with suppress(KeyError, ValueError):
            self.clock = parsedate_to_datetime(response.headers["date"])
        if response.is_redirect:
            return int(response.status_code), json.dumps(
                {"detail": f"it points to {response.headers.get('location', '')[:200]}; give that address"}
            )
        return int(response.status_code), text

    def _text(self, response: Any, doing: str) -> str:
        """An answer's text; a megabyte on the line may be a gigabyte unpacked, or never end.

        Raises:
            Unknown: it is longer than any.
        """
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            if (size := size + len(part)) > LARGEST:
                raise Unknown(f"{self.url}: {doing}: an answer of more than {LARGEST >> 20} MiB; is there Label Studio at this address?")
        return b"".join(parts).decode("utf-8", "replace")
