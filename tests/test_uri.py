"""Names: any path survives as text, any URI can be read as a local file."""

from __future__ import annotations

import functools
import os
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import fsspec
import pytest

from extractors.remote import RemoteError, fetch, is_folder, listing, look, normal
from extractors.uri import is_local, open_local, printable, to_path, to_uri

HOSTILE = [
    b"two\nlines.wav",
    b"caf\xe9.wav",
    b"\xff\xfe.wav",
    b"tab\tand\r.wav",
    "line\u2028separator.wav".encode(),
    b"\x7f.wav",
]
HARMLESS = [
    'it\'s "quoted".wav',
    "100%25 #1?.wav",
    "Für Élise — 月光.wav",
    "a:b.wav",
    "-rf",
    " leading and trailing ",
    "s3:",
    "*[x].wav",
    "e\u0301.wav",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_becomes_clean_text_and_comes_back(name: bytes) -> None:
    uri = to_uri(b"/music/" + name)
    assert uri.startswith("file:///music/")
    assert uri.isascii()
    assert uri.isprintable()
    assert os.fsencode(to_path(uri)) == b"/music/" + name


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_name_stays_as_it_is(name: str) -> None:
    assert to_uri(f"/music/{name}") == f"/music/{name}"
    assert to_path(f"/music/{name}") == f"/music/{name}"


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert to_uri("s3://looks/like/one.wav") == f"{tmp_path}/s3:/looks/like/one.wav"
    assert to_uri("a.wav") == f"{tmp_path}/a.wav"


def test_file_uris_of_this_machine_are_paths_and_others_are_refused() -> None:
    assert to_path("file:///a%20b.wav") == "/a b.wav"
    assert to_path("FILE://localhost/a.wav") == "/a.wav"
    for other in ("file://elsewhere/a.wav", "s3://bucket/a.wav"):
        with pytest.raises(ValueError, match="not a file of this machine"):
            to_path(other)
    assert [is_local(uri) for uri in ("/a", "file:///a", "s3://b/a", "zip://a::s3://b/c")] == [True, True, False, False]


def test_text_for_people_is_one_clean_line() -> None:
    assert printable("a\nb\udce9ü") == "a\\nb\\xe9ü"
    assert printable("\ud800") == "\\ud800"


def test_a_local_file_is_read_where_it_is(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9\n.wav")
    with open(path, "wb") as file:
        file.write(b"sound")
    with open_local(to_uri(path)) as local, open(local, "rb") as file:
        assert file.read() == b"sound"
        assert os.fsencode(local) == path


def test_a_copy_of_a_remote_file_bears_its_name_and_goes_away() -> None:
    with fsspec.open("memory://names/Für Elise (1).wav", "wb") as file:
        file.write(b"sound")
    with open_local("memory://names/Für Elise (1).wav") as local:
        assert Path(local).read_bytes() == b"sound"
        assert Path(local).name == "Für_Elise__1_.wav"
    assert not Path(local).exists()
    assert not Path(local).parent.exists()


def test_a_remote_file_that_is_not_there_is_a_file_not_found(server: tuple[str, Path]) -> None:
    for uri in ("memory://names/none.wav", f"{server[0]}/none.wav"):
        with pytest.raises(FileNotFoundError), open_local(uri):
            pass
        with pytest.raises(FileNotFoundError):
            look(uri)


@pytest.mark.parametrize("uri", ["nosuch://a/b.wav", "http://127.0.0.1:9/a.wav", "s3://\udcff/a.wav"])
def test_a_remote_file_that_cannot_be_fetched_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RemoteError) as caught:
        fetch(uri, str(tmp_path))
    assert printable(uri) in str(caught.value)


def test_a_remote_folder_lists_its_files_with_size_and_time() -> None:
    for name in ("b.wav", "deep/er/a.wav"):
        with fsspec.open(f"memory://listed/{name}", "wb") as file:
            file.write(b"12345")
    assert is_folder("memory://listed")
    assert not is_folder("memory://listed/b.wav")
    places = list(listing("memory://listed"))
    assert [place.uri for place in places] == ["memory:///listed/b.wav", "memory:///listed/deep/er/a.wav"]
    assert all(place.bytes == 5 and place.modified is not None for place in places)
    assert [place.uri for place in listing("memory://listed/**/*.wav", pattern=True)] == [place.uri for place in places]
    assert normal("memory://listed/b.wav") == places[0].uri


@pytest.mark.parametrize("folders", [3, 1200])
def test_many_folders_are_listed_by_name_and_each_file_once(monkeypatch: pytest.MonkeyPatch, folders: int) -> None:
    filesystem = fsspec.filesystem("memory")
    wanted = [f"/many/{number}{tail}" for number in range(folders) for tail in ("/a.wav", "/deep/b.wav", ".wav")]
    for path in wanted:
        filesystem.pipe_file(path, b"1")
    asked: list[str] = []
    find = type(filesystem).find
    monkeypatch.setattr(type(filesystem), "find", lambda self, path, **more: asked.append(path) or find(self, path, **more))
    assert [place.uri for place in listing("memory://many")] == sorted(f"memory://{path}" for path in wanted)
    assert len(asked) == (folders if folders < 1000 else 1)  # a request for each of many small folders would take hours
    filesystem.rm("/many", recursive=True)


def test_what_a_listing_holds_is_a_folder_and_not_the_bucket() -> None:
    from tests.benchmarks.bucket import Bucket

    Bucket.objects = 30_000
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    tracemalloc.start()
    counted = sum(1 for _ in listing("bucket://bucket/music/"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counted == 30_000
    assert peak < 6_000_000  # a thousand objects are half a megabyte or more, all of them twenty


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: its address and the folder that it serves."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if "cut" in self.path:  # promise more than is sent, as a connection that breaks does
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"short")
            elif "secret" in self.path:
                self.send_error(403)
            else:
                super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", tmp_path
        http.shutdown()


def test_a_web_server_is_listed_looked_at_and_fetched_from(server: tuple[str, Path]) -> None:
    address, folder = server
    (folder / "a b.wav").write_bytes(b"x" * 3_000_000)
    os.utime(folder / "a b.wav", (1_600_000_000, 1_600_000_000))
    places = list(listing(f"{address}/"))
    assert [place.uri for place in places] == [f"{address}/a%20b.wav"]
    seen = look(places[0].uri)
    assert seen.bytes == 3_000_000
    assert seen.modified == 1_600_000_000
    with open_local(places[0].uri) as local:
        assert os.path.getsize(local) == 3_000_000


def test_a_download_that_breaks_off_or_is_refused_is_named(server: tuple[str, Path]) -> None:
    for name in ("cut.wav", "secret.wav"):
        with pytest.raises(RemoteError, match=name), open_local(f"{server[0]}/{name}"):
            pass


def test_a_full_temporary_folder_is_not_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from fsspec.implementations.memory import MemoryFileSystem

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "get_file", full)
    with pytest.raises(OSError, match="No space") as caught, open_local("memory://any/a.wav"):
        pass
    assert not isinstance(caught.value, RemoteError)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """As much of S3 as reading needs, on this machine: the objects of a bucket called music."""
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()  # one that is kept asks the server of an earlier test
    objects: dict[str, bytes] = {}

    class S3(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(objects.get(unquote(urlsplit(self.path).path).removeprefix("/music/")))

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if "list-type" not in address.query:
                self.do_HEAD()
                return
            asked = {key: values[0] for key, values in parse_qs(address.query).items()}
            prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter")
            keys = sorted(key for key in objects if key.startswith(prefix))
            files = [key for key in keys if not delimiter or delimiter not in key[len(prefix) :]]
            at = int(asked.get("continuation-token", 0))
            below, more = files[at : at + _PAGE], len(files) > at + _PAGE
            folders = {prefix + key[len(prefix) :].partition("/")[0] + "/" for key in keys if delimiter and delimiter in key[len(prefix) :]}
            said = "".join(f"<Contents><Key>{quote(key)}</Key><Size>{len(objects[key])}</Size>{_WHEN}</Contents>" for key in below)
            said += "".join(f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders))
            said += f"<NextContinuationToken>{at + _PAGE}</NextContinuationToken>" * more
            count = f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(below) + len(folders)}</KeyCount>"
            self.answer(f"<ListBucketResult><Name>music</Name><EncodingType>url</EncodingType>{count}{said}</ListBucketResult>".encode())

        def answer(self, body: bytes | None) -> None:
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

    with ThreadingHTTPServer(("127.0.0.1", 0), S3) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{http.server_port}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield objects
        http.shutdown()


_PAGE = 100
_WHEN = "<LastModified>2020-09-13T12:26:40.000Z</LastModified>"


def test_a_bucket_is_listed_looked_at_and_fetched_from(bucket: dict[str, bytes]) -> None:
    bucket |= {"a.wav": b"1", "deep/100% é.wav": b"sound", "deep/other/b.wav": b"22"}
    assert is_folder("s3://music/deep")
    places = list(listing("s3://music/deep"))
    assert places == [("s3://music/deep/100% é.wav", 5, 1.6e9), ("s3://music/deep/other/b.wav", 2, 1.6e9)]
    assert look("s3://music/a.wav") == ("s3://music/a.wav", 1, 1.6e9)
    with open_local(places[0].uri) as local:
        assert Path(local).read_bytes() == b"sound"
    with pytest.raises(FileNotFoundError), open_local("s3://music/none.wav"):
        pass


def test_a_bucket_is_listed_page_by_page_and_no_more_is_held(bucket: dict[str, bytes]) -> None:
    bucket |= {f"deep/{number:05}.wav": b"1" for number in range(_PAGE)} | {"a.wav": b"1", "deep/": b"", "deeper.wav": b"1"}
    assert [place.uri for place in listing("s3://music")][:2] == ["s3://music/a.wav", "s3://music/deep/00000.wav"]
    peaks = []
    for pages in (2, 10):
        bucket |= {f"deep/{number:05}.wav": b"1" for number in range(pages * _PAGE)}
        tracemalloc.start()
        assert sum(1 for _ in listing("s3://music/deep")) == pages * _PAGE
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    with pytest.raises(FileNotFoundError):
        list(listing("s3://music/none"))
