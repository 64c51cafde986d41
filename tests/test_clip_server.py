"""The clip server over real sockets: ranges to the byte, links that hold and end, and nothing read but clips."""

import base64
import hashlib
import hmac
import http.client
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import numpy as np
import pytest

from pipelines.clips.links import Keys, as_good, expiry, presigned, sign, unsigned
from pipelines.clips.server import server

NAME = "0123456789abcdef0123-00112233.mp3"
OTHER = "aaaaaaaaaaaaaaaaaaaa-00112233.flac"
CONTENT = np.random.default_rng(1).bytes(700_001)
SECRET = "what nobody may read"


def soon(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@contextmanager
def serving(folder: Path, keys: Keys) -> Iterator[str]:
    """The server on a port of its own; its URL."""
    running = server(folder, keys, port=0)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A store with two clips, and things beside them that are none."""
    store = tmp_path_factory.mktemp("store")
    for name in (NAME, OTHER):
        path = store / "clips" / name.rpartition(".")[2] / name
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
    (store / "secret.mp3").write_text(SECRET)
    (store / "clips/secret.mp3").write_text(SECRET)
    (store / "clips/mp3/secret.mp3").write_text(SECRET)
    (store / "clips/mp3" / ("b" * 20 + "-00112233.mp3")).symlink_to(store / "secret.mp3")
    (store / "clips/mp3" / ("c" * 20 + "-00112233.mp3")).mkdir()
    os.mkfifo(store / "clips/mp3" / ("d" * 20 + "-00112233.mp3"))
    return store


@pytest.fixture(scope="module")
def keys(place: Path) -> Keys:
    return Keys(place / "campaigns/clip-keys")


@pytest.fixture(scope="module")
def url(place: Path, keys: Keys) -> Iterator[str]:
    with serving(place / "clips", keys) as url:
        yield url


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body; the path goes out as it is written, no client tidies it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        target = url[url.index("/", len("http://")) :]
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("query", ["", "?lsref=1", "?x=1&lsref=1"])
def test_a_signed_link_gives_the_file_whatever_the_editor_appends(url: str, keys: Keys, query: str) -> None:
    status, headers, body = ask(sign(url, NAME, soon(), keys) + query)
    assert (status, body) == (200, CONTENT)
    assert headers["content-type"] == "audio/mpeg"
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["accept-ranges"] == "bytes"
    assert ask(sign(url, OTHER, soon(), keys))[1]["content-type"] == "audio/flac"


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [
        ("bytes=0-", 0, 700_001),
        ("bytes=0-0", 0, 1),
        ("bytes=100-299999", 100, 300_000),
        ("bytes=700000-", 700_000, 700_001),
        ("bytes=5-99999999999", 5, 700_001),
        ("bytes=-10", 699_991, 700_001),
        ("bytes=-9999999", 0, 700_001),
    ],
)
def test_a_range_gives_just_those_bytes(url: str, keys: Keys, asked: str, first: int, stop: int) -> None:
    link = sign(url, NAME, soon(), keys)
    for method, expected in (("GET", CONTENT[first:stop]), ("HEAD", b"")):
        status, headers, body = ask(link, method, Range=asked)
        assert (status, body) == (206, expected)
        assert headers["content-range"] == f"bytes {first}-{stop - 1}/700001"
        assert headers["content-length"] == str(stop - first)


@pytest.mark.parametrize("asked", ["bytes=700001-", "bytes=900000-900001", "bytes=-0"])
def test_a_range_beyond_the_end_is_416_and_says_the_size(url: str, keys: Keys, asked: str) -> None:
    status, headers, _ = ask(sign(url, NAME, soon(), keys), Range=asked)
    assert (status, headers["content-range"]) == (416, "bytes */700001")
    assert headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "bytes=9-3", "bytes=a-b", "frames=0-1", "bytes=0-1,5-6", "bytes=0-" + "9" * 5000])
def test_what_is_no_single_range_gives_the_whole_file(url: str, keys: Keys, asked: str) -> None:
    status, _, body = ask(sign(url, NAME, soon(), keys), Range=asked)
    assert (status, len(body)) == (200, len(CONTENT))


def test_a_browser_that_has_the_file_is_not_sent_it_again(url: str, keys: Keys) -> None:
    link = sign(url, NAME, soon(), keys)
    headers = ask(link, "HEAD")[1]
    assert ask(link, If_None_Match=headers["etag"])[::2] == (304, b"")
    assert ask(link, If_None_Match=f'"x", W/{headers["etag"]}')[0] == 304
    assert ask(link, If_Modified_Since=headers["last-modified"])[0] == 304
    assert ask(link, If_None_Match='"x"', If_Modified_Since=headers["last-modified"])[0] == 200
    assert ask(link, Range="bytes=0-4", If_Range=headers["etag"])[::2] == (206, CONTENT[:5])
    assert ask(link, Range="bytes=0-4", If_Range='"x"')[0] == 200


def test_every_answer_lets_a_page_of_any_origin_read_it(url: str, keys: Keys) -> None:
    link = sign(url, NAME, soon(), keys)
    for status, each in ((200, link), (403, link[:-5] + "z.mp3"), (410, sign(url, NAME, soon(-5), keys))):
        for headers in ({}, {"Origin": "https://studio.example"}):
            answer = ask(each, **headers)
            assert (answer[0], answer[1]["access-control-allow-origin"]) == (status, "*")
    status, headers, _ = ask(link, "OPTIONS", Origin="https://s.example", Access_Control_Request_Headers="range")
    assert status == 204
    assert "range" in headers["access-control-allow-headers"].lower()
    assert "GET" in headers["access-control-allow-methods"]
    assert {"content-range", "content-length", "accept-ranges"} <= set(
        re.split(", *", ask(link)[1]["access-control-expose-headers"].lower())
    )


def test_a_link_cannot_be_altered_in_any_character(url: str, keys: Keys) -> None:
    link = sign(url, NAME, soon(), keys)
    begin = link.index("/c/") + 3
    for at in range(begin, len(link)):
        for other in "Az0_-5":
            if other != link[at]:
                status, _, body = ask(link[:at] + other + link[at + 1 :])
                assert (status in (403, 404), len(body) < 100) == (True, True), (at, other)
    assert ask(link.replace(NAME, OTHER))[0] == 403
    assert ask(link.replace("/c/", "/c/0"))[0] == 403
    for method in ("POST", "PUT", "DELETE"):
        assert ask(link, method)[0] == 405


def test_a_link_ends_when_its_time_is_over(url: str, keys: Keys) -> None:
    assert ask(sign(url, NAME, soon(-1), keys))[0] == 410
    brief = sign(url, NAME, soon(3), keys)
    status, headers, _ = ask(brief)
    assert status == 200
    assert int(re.findall(r"max-age=(\d+)", headers["cache-control"])[0]) <= 3
    assert expiry(brief) == datetime.fromtimestamp(int(soon(3).timestamp()), UTC) or expiry(brief) < soon(3)


def test_the_same_request_signs_the_same_link_and_another_key_another(keys: Keys, tmp_path: Path) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    link = sign("https://host/audio/", NAME, at, keys)
    assert link == sign("https://host/audio", NAME, at, keys)
    key = keys.path.read_bytes().split()[-1]
    expected = hmac.new(key, f"{int(at.timestamp())}/{NAME}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(expected).decode().rstrip("=") in link
    assert link != sign("https://host/audio", NAME, at, Keys(tmp_path / "other"))
    assert unsigned(link) == f"https://host/audio/c/…/{NAME}"


def wanderings() -> list[str]:
    """Names that try to leave the folder, or to be read in another way."""
    up = ["..", "%2e%2e", "%2E.", "..%2f", "..%5c", "%252e%252e", "..;", "%c0%ae%c0%ae"]
    ways = [f"{step}/{step}/secret.mp3" for step in up] + [f"{step}secret.mp3" for step in ("..%2f", "..%2F..%2f", "%2f", "//", "..%5c")]
    ways += ["secret.mp3", "%2fetc%2fpasswd", "/etc/passwd", NAME.upper(), NAME.replace("mp3", "MP3"), NAME + "%00", "%00" + NAME]
    ways += [
        NAME.replace(".mp3", "%00.mp3"),
        NAME + "%0a",
        NAME + "/",
        NAME + "%20",
        "%ff" + NAME,
        NAME + "/../secret.mp3",
        quote("０") + NAME[1:],
    ]
    return [*ways, NAME + "%2f..%2fsecret.mp3", "", ".", "x" * 5000]


@pytest.mark.parametrize("way", wanderings())
def test_nothing_outside_the_clips_can_be_read_even_with_a_key(url: str, keys: Keys, way: str) -> None:
    at = soon()
    signed = sign(url, NAME, at, keys)
    # Signed as it stands, and as it reads once decoded: the name's form alone must keep it out.
    heads = {
        signed.rpartition("/")[0],
        *(sign(url, each, at, keys)[: -len(each) - 1] for each in {way, unquote(way)} if each.isascii() and each),
    }
    for head in heads:
        status, _, body = ask(f"{head}/{way}")
        assert status in (403, 404, 405, 307, 400)
        assert SECRET.encode() not in body
        assert len(body) < 200


@pytest.mark.parametrize("letter", "bcde")
def test_links_folders_pipes_and_what_is_not_there_are_404(url: str, keys: Keys, letter: str) -> None:
    status, headers, body = ask(sign(url, letter * 20 + "-00112233.mp3", soon(), keys))
    assert status == 404
    assert headers["access-control-allow-origin"] == "*"
    assert SECRET.encode() not in body


def test_keys_are_private_made_once_and_can_be_replaced_while_the_server_runs(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "campaigns/clip-keys"
    with ThreadPoolExecutor(8) as pool:
        made = {each.all() for each in pool.map(lambda _: Keys(path), range(8))}
    assert len(made) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    keys = Keys(path)
    with serving(place / "clips", keys) as url:
        old = sign(url, NAME, soon(), keys)
        Keys(path).rotate()  # by another process
        new = sign(url, NAME, soon(), keys)
        assert old.split("-")[1] != new.split("-")[1]
        assert [ask(each)[0] for each in (old, new)] == [200, 200]
        Keys(path).rotate()
        assert [ask(each)[0] for each in (old, new)] == [403, 200]
        Keys(path).rotate(keep=0)
        assert [ask(each)[0] for each in (old, new)] == [403, 403]
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ValueError, match="others may read these keys; chmod 600"):
        Keys(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(ValueError, match="not a file of keys; delete it"):
        Keys(path)


def test_the_log_says_who_asked_for_what_and_never_a_signature(url: str, keys: Keys, caplog: pytest.LogCaptureFixture, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    links = [sign(url, NAME, soon(), keys), sign(url, NAME, soon(-9), keys), sign(url, OTHER, soon(), keys) + "x%0ainjected"]
    for link in links:
        ask(link, Range="bytes=0-9")
    lines = [record.getMessage() for record in caplog.records if record.name == "earmark.clips"]
    assert re.fullmatch(rf"GET {re.escape(NAME)} 206 10 bytes \d+ ms", lines[0])
    assert re.match(rf"GET {re.escape(NAME)} 410 ", lines[1])
    assert lines[2].startswith("GET - 403 ")
    printed = "\n".join([caplog.text, *capfd.readouterr()])
    assert not any(re.search(r"-([\w-]{43})/", link)[1] in printed for link in links)
    assert "injected" not in printed


def test_fifty_readers_at_once_each_get_their_bytes_and_no_file_stays_open(url: str, keys: Keys) -> None:
    link = sign(url, NAME, soon(), keys)
    before = len(os.listdir("/proc/self/fd"))
    rng = np.random.default_rng(2)
    places = [sorted(rng.integers(0, len(CONTENT), 2).tolist()) for _ in range(400)]

    def right(place: list[int]) -> bool:
        status, _, body = ask(link, Range=f"bytes={place[0]}-{place[1]}")
        return status == 206 and body == CONTENT[place[0] : place[1] + 1]

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(right, places))
    for _ in range(20):  # and who goes away in the middle leaves nothing behind
        parts = urlsplit(link)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        connection.request("GET", parts.path)
        connection.getresponse().read(10)
        connection.close()
    for _ in range(100):
        if len(os.listdir("/proc/self/fd")) <= before + 2:
            break
        time.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_presigned_link_is_signed_as_amazon_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    for name, value in {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    link = urlsplit(presigned("s3://bucket/clips/mp3/" + NAME, 600))
    query = dict(parse_qsl(link.query))
    signature = query.pop("X-Amz-Signature")
    assert (link.scheme, query["X-Amz-Expires"]) == ("https", "600")
    # Signature version 4, as its specification has it.
    words = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
    canonical = f"GET\n{link.path}\n{words}\nhost:{link.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    day, scope = query["X-Amz-Date"][:8], query["X-Amz-Credential"].partition("/")[2]
    key = f"AWS4{secret}".encode()
    for part in (day, "eu-west-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    said = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert hmac.new(key, said.encode(), hashlib.sha256).hexdigest() == signature
    until = expiry(link.geturl())
    assert until is not None
    assert abs((until - soon(600)).total_seconds()) < 60
    assert signature not in unsigned(link.geturl())


def test_a_presigned_link_is_renewed_for_another_object_another_key_or_half_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    for name, value in {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    uri = "s3://bucket/clips/mp3/" + NAME
    new = presigned(uri)
    assert as_good(presigned(uri, 310_000), new)
    assert not as_good(presigned(uri, 300_000), new)
    assert not as_good(new.replace(NAME, "x" + NAME), new)
    assert not as_good(new.replace("AKIDEXAMPLE", "AKIDANOTHER"), new)
    assert urlsplit(presigned(uri, 60, "https://music.example:9000")).netloc.endswith("music.example:9000")


def test_what_cannot_be_presigned_says_why() -> None:
    with pytest.raises(ValueError, match="memory signs no links; or keep the store in a folder, and serve clips by earmark"):
        presigned("memory://a.mp3", 60)
    with pytest.raises(ValueError, match="604800 s"):
        presigned("s3://bucket/a.mp3", 700_000)
