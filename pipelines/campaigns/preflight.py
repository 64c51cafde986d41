"""What would spoil a campaign for the people who are invited to it, found before they are: sound, links, screen, predictions."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urljoin, urlsplit

from annotation.campaign import Campaign
from annotation.interface import FIELDS, check_interface, interface
from annotation.preannotation import check_prediction
from annotation.task import Task
from extractors.containers import AudioError
from pipelines.clips.links import SIGNED_QUERIES, expiry, unsigned

if TYPE_CHECKING:
    import httpx

SLACK = 0.05  # seconds by which a file may be longer or shorter than the catalogue says
# What Chromium, Firefox and Safari all decode, as `extractors.audio.probe` calls it.
PLAYED = frozenset(("mp3", "flac", "wav", "vorbis", "opus", "aac"))
_AT_ONCE = 8
_TIMEOUT = 30.0  # seconds
_DENSEST = 48_000 * 8 * 4  # bytes that a second of sound may take
_HEAD = 1 << 20  # bytes beside the sound
_SERVE = "serve the clips by earmark"


@dataclass(frozen=True)
class Finding:
    """Something wrong, as one line: with what (a task, the screen), at which URL, why, and what to do."""

    about: str
    cause: str
    remedy: str
    url: str = ""

    def __str__(self) -> str:
        at = f" ({self.url})" if self.url else ""
        return f"{self.about}{at}: {self.cause}; {self.remedy}"


@dataclass
class Report:
    """What was found. failures: people should not be invited before they are mended; warnings: they will be slower or wonder.

    tasks: how many there are; heard: how many of them were fetched and decoded.
    """

    tasks: int = 0
    heard: int = 0
    failures: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def preflight(
    tasks: Sequence[Task],
    campaign: Campaign,
    studio: str | None = None,
    sample: int = 20,
    predictions: Callable[[Task], Sequence[Mapping[str, Any]]] = lambda task: (),
    lasting: timedelta = timedelta(days=3),
) -> Report:
    """Look at a campaign as its annotators' browsers will.

    Args:
        studio: URL at which people open Label Studio. Without it, what depends on it is left out: mixed content, machines' own addresses.
        sample: how many tasks are fetched and decoded, evenly from all.
        predictions: a task's predictions as they lie, or will lie, in Label Studio.
        lasting: how long links must still hold.
    """
    report = Report(len(tasks))
    try:
        columns = {*FIELDS, *(column for task in tasks[:1] for column in task.data)}
        mistakes = check_interface(interface(campaign), campaign, columns)
    except ValueError as error:
        mistakes = str(error).splitlines()
    report.failures += [Finding("the screen", mistake, "mend the campaign's questions or its own interface") for mistake in mistakes]
    if not tasks:
        report.failures.append(Finding("the campaign", "it has no tasks", "see [clips] in its file, and apply it"))
    chosen = [tasks[round(index * (len(tasks) - 1) / max(1, sample - 1))] for index in range(sample)] if sample < len(tasks) else tasks
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for task, trial in zip(chosen, pool.map(lambda task: _Trial(task, studio, lasting), chosen), strict=True):
            report.heard += trial.decoded
            report.failures += trial.failures
            report.warnings += trial.warnings
            for given in predictions(task):
                wrong = check_prediction(given.get("result"), campaign, task.seconds, given.get("score"))
                about = f"task {task.ext_id}, prediction of {given.get('model_version') or 'no model'}"
                report.failures += [Finding(about, line, "apply the campaign again, or see its [predictions]") for line in wrong]
    return report


class _Refused(Exception):
    """What is not fetched: why, and what to do."""


class _Trial:
    """One task's sound, asked for as the editor does."""

    def __init__(self, task: Task, studio: str | None, lasting: timedelta) -> None:
        self.task, self.studio = task, studio
        self.url = task.audio
        # The editor leaves such a link alone, and appends to others.
        self.signed = not parse_qs(task.audio.partition("?")[2]).keys().isdisjoint(SIGNED_QUERIES)
        self.origin = _origin(studio) if studio else "https://studio.invalid"
        self.failures: list[Finding] = []
        self.warnings: list[Finding] = []
        self.decoded = False
        if self._reachable() and self._holds(lasting):
            self._fetch()

    def _fail(self, cause: str, remedy: str) -> None:
        self.failures.append(Finding(f"task {self.task.ext_id}", cause, remedy, unsigned(self.task.audio)))

    def _reachable(self) -> bool:
        """Whether a browser on another machine would ask at all."""
        try:
            self.url = urljoin(self.studio or "", self.url)
            parts = urlsplit(self.url)
        except ValueError as error:
            self._fail(f"it is no URL ({error})", "set audio.base_url, and apply again")
            return False
        if parts.scheme not in ("http", "https") or not parts.hostname:
            cause = f"a browser cannot open {parts.scheme}://" if parts.scheme else "it is no URL"
            self._fail(cause, f"presign it, or {_SERVE}")
            return False
        here = _loopback(parts.hostname)
        if self.studio:
            asking = urlsplit(self.studio)
            if asking.scheme == "https" and parts.scheme == "http" and not here:
                self._fail(f"plain http, and {self.origin} is https: browsers refuse it (mixed content)", "put the clips behind https too")
            if here and not _loopback(asking.hostname or ""):
                self._fail(f"{parts.hostname} is each annotator's own machine", "set audio.base_url to what they reach, and apply again")
        return True

    def _holds(self, lasting: timedelta) -> bool:
        until, now = expiry(self.url), datetime.now(UTC)
        if until is None or until >= now + lasting:
            return True
        ends = f"{until:%Y-%m-%d %H:%M} UTC"
        remedy = "apply the campaign again, with a longer audio.expires_hours"
        if self.signed:
            remedy = f"presigned links hold for seven days at most; for longer, {_SERVE}"
        self._fail(f"its link was over at {ends}" if until <= now else f"its link ends at {ends}, in less than {lasting}", remedy)
        return until > now

    def _fetch(self) -> None:
        import httpx

        headers = {"Origin": self.origin, "Accept": "*/*", "Accept-Encoding": "identity"}
        again = self.url
        if not self.signed:
            again += ("&" if "?" in self.url else "?") + "lsref=1"
        try:
            hooks = {"response": [_stay]}
            with httpx.Client(follow_redirects=True, timeout=_TIMEOUT, headers=headers, trust_env=False, event_hooks=hooks) as client:
                with client.stream("GET", self.url, headers={"Range": "bytes=0-"}) as first:
                    if not self._answered(first, (200, 206)):
                        return
                    if first.status_code == 200 or not first.headers.get("content-range", "").startswith("bytes 0-"):
                        cause = "no Range: to seek, browsers fetch the whole file first"
                        self.warnings.append(Finding(f"task {self.task.ext_id}", cause, _SERVE, unsigned(self.task.audio)))
                with client.stream("GET", again) as whole:
                    if not self._answered(whole, (200,), " when lsref=1 is appended"):
                        return
                    content = self._content(whole)
        except _Refused as refused:
            self._fail(*refused.args)
            return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._fail(f"no answer ({unsigned(cause)})", "see that the server runs and that its address is right")
            return
        self._decode(content)

    def _content(self, answer: httpx.Response) -> bytes:
        most, content = round(self.task.seconds * _DENSEST) + _HEAD, bytearray()
        for part in answer.iter_bytes():
            content += part
            if len(content) > most:
                cause = f"more than {most} bytes for {self.task.seconds:g} s of sound"
                raise _Refused(cause, "see what is at this address, and cut the clip again: delete it from the store's clips, and apply")
        return bytes(content)

    def _answered(self, answer: httpx.Response, good: Sequence[int], when: str = "") -> bool:
        status = answer.status_code
        if status not in good:
            remedies = {
                401: f"no login reaches the editor's requests; {_SERVE}",
                403: "sign it anew by applying the campaign, with the keys that the server has",
                404: "cut the clips again by applying the campaign, and see that the server serves this store",
                410: "apply the campaign again for a new link",
            }
            said = f"{status} {answer.reason_phrase}".strip()
            self._fail(f"{said}{when}", remedies.get(status, "see the server's log"))
            return False
        if (kind := answer.headers.get("content-type", "")).startswith("text/html"):
            self._fail(f"a web page ({kind}) where sound should be{when}, perhaps to log in", f"no login reaches the editor; {_SERVE}")
            return False
        for hop in (*answer.history, answer):
            allowed = hop.headers.get("access-control-allow-origin")
            if str(hop.url).startswith(self.origin + "/") or allowed in ("*", self.origin) or (allowed and not self.studio):
                continue
            cause = "no Access-Control-Allow-Origin" if allowed is None else f"Access-Control-Allow-Origin is {allowed}"
            remedy = (
                f"allow GET from there in the bucket's CORS rules, or {_SERVE}" if self.signed else f"allow it on the server, or {_SERVE}"
            )
            self._fail(f"{cause}, so browsers keep the sound from {self.origin}{when}", remedy)
            return False
        return True

    def _decode(self, content: bytes) -> None:
        from extractors.audio import probe, stream

        with tempfile.NamedTemporaryFile(prefix="earmark-") as file:
            file.write(content)
            file.flush()
            try:
                info = probe(file.name)
                samples, peak = 0, 0.0
                for block in stream(file.name, info.sample_rate):
                    samples += len(block)
                    peak = max(peak, float(abs(block).max()))
            except AudioError as error:
                self._fail(
                    str(error).replace(file.name.rpartition("/")[2], "the file"),
                    "cut it again: delete it from the store's clips, and apply",
                )
                return
        self.decoded = True
        if info.format not in PLAYED:
            self._fail(f"{info.format}, which not every browser plays", "set audio.format to mp3, flac, ogg or wav, and apply again")
        seconds = samples / info.sample_rate
        if abs(seconds - self.task.seconds) > SLACK:
            cause = f"{seconds:.3f} s of sound where the catalogue says {self.task.seconds:.3f} s"
            self._fail(cause, "regions would land elsewhere: scan the recording again and apply, or delete the clip's file and apply")
        if peak == 0:
            self.warnings.append(Finding(f"task {self.task.ext_id}", "silent throughout", "leave it out", unsigned(self.task.audio)))


def _stay(answer: httpx.Response) -> None:
    """Raises: _Refused where an answer points to another host: browsers do not tell that one for which page they ask, and it may be any."""
    if answer.has_redirect_location and (host := answer.url.join(answer.headers["location"]).host) != answer.url.host:
        raise _Refused(f"it points to another host, {host}", "set audio.base_url to where the clips are, and apply again")


def _origin(url: str) -> str:
    """What a browser sends as Origin.

    >>> _origin("https://Studio.example:443/projects/1"), _origin("http://10.0.0.1:8080")
    ('https://studio.example', 'http://10.0.0.1:8080')
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _loopback(host: str) -> bool:
    """Whether a host is the asking machine itself, which browsers trust without https.

    >>> _loopback("localhost"), _loopback("127.0.0.2"), _loopback("::1"), _loopback("clips.example")
    (True, True, True, False)
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
