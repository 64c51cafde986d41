"""Talking to Label Studio as a browser does, where its API has no way: signing up, signing in, the first token."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NoReturn

from annotation.shape import unlike


class SessionError(Exception):
    """The server said no, or nothing; one line says what."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Signing in and up answer with a redirection, and that is the whole answer."""


class Session:
    """One person's cookies, or one person's token.

    Args:
        url: where the server is, without a slash at the end.
        token: a legacy token; without it, nobody is signed in yet.
    """

    def __init__(self, url: str, token: str = "", timeout: float = 30) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._headers = {"Authorization": f"Token {token}"} if token else {}
        # Behind a proxy that speaks https, cookies are for https alone; from this machine the server is reached without it.
        self._cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https")))
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies), _NoRedirect)

    def get(self, path: str, shape: Any = object) -> Any:
        """The JSON at a path.

        Args:
            shape: of it, as `annotation.shape.unlike` takes it.
        Raises:
            SessionError: the server does not answer, or not with such JSON.
        """
        body = self._send("GET", path)[1]
        try:
            said = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise SessionError(f"{self.url}{path}: an answer that is not JSON; is this Label Studio?") from error
        if wrong := unlike(said, shape):
            raise SessionError(f"{self.url}{path}: {wrong}; is this Label Studio, in a version that earmark knows?")
        return said

    def post(self, path: str, content: dict[str, Any]) -> None:
        """Send JSON."""
        self._send("POST", path, json.dumps(content).encode(), {"Content-Type": "application/json", **self._forgery()})

    def submit(self, path: str, **fields: str) -> bool:
        """Fill in a form. Returns: whether it was accepted; a form that is shown again was not."""
        self._send("GET", path)
        code, _ = self._send(
            "POST", path, urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": self._cookie()}).encode(), self._forgery()
        )
        return code == 302

    def sign_in(self, email: str, password: str) -> bool:
        """Returns: whether the password is right."""
        return self.submit("/user/login/", email=email, password=password, persist_session="on")

    def _cookie(self) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == "csrftoken"), "")

    def _forgery(self) -> dict[str, str]:
        return {"X-CSRFToken": self._cookie(), "Referer": self.url}

    def _send(self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        request = urllib.request.Request(f"{self.url}{path}", data, {**self._headers, **(headers or {})}, method=method)
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 302:
                return 302, b""
            self._refuse(error, path)
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            raise SessionError(f"{self.url}: no answer ({getattr(error, 'reason', error)})") from error

    def _refuse(self, error: urllib.error.HTTPError, path: str) -> NoReturn:
        where = path.partition("?")[0]  # an invitation's secret stands after it
        if error.code == 401:
            raise SessionError(f"{self.url}{where}: the token is not known here (401)") from error
        raise SessionError(f"{self.url}{where}: refused with {error.code} {error.reason}") from error
