"""`earmark campaign serve` and `invite` with a real Label Studio on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.studio.child import process_alive
from pipelines.studio.install import InstallError, environment, install
from pipelines.studio.invite import invite
from pipelines.studio.postgres import Postgres, PostgresError
from pipelines.studio.server import Studio, StudioError, address
from pipelines.studio.session import Session, SessionError
from tests.studio import FAST, RunningStudio, StudioProcess, need_studio, template

pytestmark = pytest.mark.slow


class Served:
    """The command in a process of its own."""

    def __init__(self, data: Path, port: int, public_url: str = "", database: str = "", single: bool = False, **environment: str) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-c", "from pipelines.cli import main; raise SystemExit(main())", "campaign", "serve"]
        command += ["--data", str(data), "--port", str(port), "--public-url", public_url, "--database", database]
        self.out = data.parent / f"out-{time.monotonic_ns()}"
        with open(self.out, "w") as out:
            self.process = subprocess.Popen(
                command + ["--single-annotator"] * single, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
            )

    def ready(self) -> Served:
        """Wait until it says that it serves."""
        end = time.monotonic() + 200
        while "Ctrl-C" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)
        return self

    def said(self) -> str:
        return self.out.read_text()

    def refused(self) -> str:
        """Its last line, when it ends with a mistake."""
        assert self.process.wait(60) == 2, self.said()
        lines = self.said().splitlines()
        assert "Traceback" not in self.said(), self.said()
        return lines[-1]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter; pytest's own are closed to it."""
    need_studio()
    made = Path(tempfile.mkdtemp(prefix="earmark-studio-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def data(folder: Path) -> Path:
    """A data folder with a database that is ready."""
    subprocess.run(["cp", "-a", str(template()), str(folder / "data")], check=True)
    return folder / "data"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive_in(data: Path) -> bool:
    """Whether a PostgreSQL or a Label Studio of this folder still runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and process_alive(int(entry.name), str(data)) and int(entry.name) != os.getpid():
            return True
    return False


def wait_until_dead(data: Path) -> None:
    end = time.monotonic() + 20
    while alive_in(data):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_serve_answers_says_where_keeps_secrets_and_stops_cleanly(data: Path) -> None:
    served = Served(data, free_port(), USERNAME="somebody", DEBUG="True", LABEL_STUDIO_HOST="http://elsewhere").ready()
    assert served.url in served.said()
    assert str(data / "token") in served.said()
    url, token = address(data)
    assert url == served.url
    assert Session(url, token).get("/api/current-user/whoami")["email"] == "admin@earmark.local"
    assert Session(url).sign_in(*(data / "admin").read_text().split())
    secrets = [token, (data / "admin").read_text().split()[1]]
    for name in ("token", "admin"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    for text in (served.said(), (data / "label-studio.log").read_text(), (data / "postgres.log").read_text()):
        assert not any(secret in text for secret in secrets)
    with pytest.raises(SessionError, match="403"):
        Session(url).submit("/user/signup/", email="stranger@example.org", password="a long password")
    assert served.end() == 0
    assert not alive_in(data)
    assert "Traceback" not in served.said()


def test_a_killed_command_leaves_no_server_and_the_next_start_has_everything(data: Path) -> None:
    port = free_port()
    served = Served(data, port).ready()
    Session(served.url, address(data)[1]).post("/api/projects/", {"title": "kept through a kill"})
    served.end(signal.SIGKILL)
    again = Served(data, port).ready()  # at once, while the first servers are still ending
    titles = [project["title"] for project in Session(again.url, address(data)[1]).get("/api/projects/")["results"]]
    assert "kept through a kill" in titles
    again.end(signal.SIGKILL)
    wait_until_dead(data)
    assert not (data / "postgres" / "postmaster.pid").exists()


def test_one_folder_is_served_once_and_a_taken_port_is_named(data: Path) -> None:
    port = free_port()
    first = Served(data, port).ready()
    assert Served(data, free_port()).refused() == f"earmark: {data}: served already, at {first.url}"
    second = data.parent / "second"
    subprocess.run(["cp", "-a", str(template()), str(second)], check=True)
    assert Served(second, port).refused() == f"earmark: port {port} is in use by another program; --port names another one"
    assert not alive_in(second)
    assert Session(first.url).get("/health") == {"status": "UP"}
    assert first.end(signal.SIGTERM) == 0


def test_a_database_that_dies_ends_the_command_with_its_name(data: Path) -> None:
    served = Served(data, free_port()).ready()
    os.kill(int((data / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
    assert served.refused().startswith("earmark: PostgreSQL has ended by itself")
    wait_until_dead(data)
    Served(data, free_port()).ready().end()


def test_a_database_elsewhere_is_given_by_url_and_one_that_is_away_is_named(data: Path) -> None:
    database = Postgres(data.parent / "elsewhere", data.parent / "elsewhere.log", [*FAST, "listen_addresses=127.0.0.77"])
    (data / "postgres").rename(data.parent / "elsewhere")
    (data / "studio.json").unlink()
    url = "postgresql://postgres:unasked@127.0.0.77/studio"
    refused = Served(data, free_port(), database=url).refused()
    assert "Label Studio does not start" in refused
    assert "Connection refused" in refused
    database.start()
    try:
        served = Served(data, free_port(), database=url).ready()
        assert not (data / "postgres").exists()
        assert "unasked" not in served.said()
        assert served.end() == 0
        assert Served(data, free_port()).refused().startswith(f"earmark: {data}: its labels are in PostgreSQL at 127.0.0.77:5432/studio")
    finally:
        database.stop()


def test_a_token_that_was_lost_is_fetched_again(data: Path) -> None:
    was = (data / "token").read_text().strip()
    (data / "token").write_text("0" * 40)
    served = Served(data, free_port()).ready()
    assert (data / "token").read_text().strip() == was
    served.end()
    (data / "admin").write_text("admin@earmark.local\nanother-password\n")
    (data / "token").write_text("0" * 40)
    assert "copy 'admin' and 'token'" in Served(data, free_port()).refused()
    assert not alive_in(data)


def test_sqlite_is_for_one_annotator_and_says_why(folder: Path) -> None:
    served = Served(folder / "alone", free_port(), single=True).ready()
    assert "labels were lost and doubled" in served.said()
    assert served.end() == 0
    refused = Served(folder / "alone", free_port()).refused()
    assert "its labels are in SQLite, not in a PostgreSQL of its own; start it as before, or name another folder" in refused


def test_inviting_twice_makes_one_account_that_can_sign_in(studio: RunningStudio, tmp_path: Path) -> None:
    passwords = tmp_path / "annotators.tsv"
    first = invite(["Ada@example.org", "bo@example.org"], studio.url, studio.token, passwords)
    again = invite(["ada@example.org ", "ada@example.org", "cy@example.org"], studio.url, studio.token, passwords)
    assert [account.new for account in first] == [True, True]
    assert [(account.email, account.new) for account in again] == [("ada@example.org", False), ("cy@example.org", True)]
    assert again[0].password == first[0].password
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    users = [user["email"] for user in Session(studio.url, studio.token).get("/api/users/")]
    assert users.count("ada@example.org") == 1
    assert Session(studio.url).sign_in("ada@example.org", first[0].password)
    assert not Session(studio.url).sign_in("ada@example.org", "something else")
    assert first[0].password not in repr(first)


def test_an_account_whose_password_was_half_written_gets_a_whole_one(studio: RunningStudio, tmp_path: Path) -> None:
    passwords = tmp_path / "annotators.tsv"
    passwords.write_text("dee@example.org\tha")
    (dee,) = invite(["dee@example.org"], studio.url, studio.token, passwords)
    assert dee.new
    assert Session(studio.url).sign_in("dee@example.org", dee.password)
    (again,) = invite(["dee@example.org"], studio.url, studio.token, passwords)
    assert again.password == dee.password


def test_mistakes_in_an_invitation_are_one_line(studio: RunningStudio, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'ada' is not an e-mail address"):
        invite(["ada"], studio.url, studio.token, tmp_path / "annotators.tsv")
    with pytest.raises(SessionError, match="the token is not known here"):
        invite(["eve@example.org"], studio.url, "0" * 40, tmp_path / "annotators.tsv")
    with pytest.raises(SessionError, match="no answer"):
        invite(["eve@example.org"], f"http://127.0.0.1:{free_port()}", studio.token, tmp_path / "annotators.tsv")


def test_people_are_invited_on_this_machine_to_a_server_that_others_reach_by_https(data: Path) -> None:
    served = Served(data, free_port(), public_url="https://labels.example.org").ready()
    assert "https://labels.example.org" in served.said()
    (ada,) = invite(["ada@example.org"], *address(data), data / "annotators.tsv")
    assert Session(served.url).sign_in("ada@example.org", ada.password)
    served.end()


def test_what_was_stored_is_there_after_a_kill_and_a_restarted_database(studio_process: StudioProcess) -> None:
    session = Session(studio_process.url, studio_process.token)
    session.post("/api/projects/", {"title": "before"})
    studio_process.kill9()
    with pytest.raises(SessionError, match="no answer"):
        session.get("/health")
    studio_process.start()
    studio_process.restart_postgres()
    session.post("/api/projects/", {"title": "after"})
    assert {project["title"] for project in session.get("/api/projects/")["results"]} == {"before", "after"}


def test_a_stale_postmaster_pid_of_another_process_does_not_prevent_a_start(folder: Path) -> None:
    postgres = Postgres(folder / "postgres", folder / "log", FAST)
    postgres.start()
    postgres.stop()
    (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder / 'postgres'}\n0\n5432\n\n\n\n")
    postgres.start()
    postgres.stop()
    assert process_alive(os.getpid(), "python")


def test_a_postgres_that_somebody_started_on_the_folder_by_another_path_is_left_alone(folder: Path) -> None:
    postgres = Postgres(folder / "postgres", folder / "log", FAST)
    postgres.start()
    (folder / "other").symlink_to(folder / "postgres")
    try:
        with pytest.raises(PostgresError, match="a PostgreSQL; stop it"):
            Postgres(folder / "other", folder / "log", FAST).start()
        assert postgres.child is not None
        assert postgres.child.alive()
    finally:
        postgres.stop()


def test_a_folder_with_a_long_name_is_reached_too_and_nothing_is_left_beside_it(folder: Path) -> None:
    long = folder / ("long" * 25)
    long.mkdir(mode=0o711)
    postgres = Postgres(long / "postgres", folder / "log", FAST)
    postgres.start()
    socket_folder = postgres.socket
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    postgres.restart()
    assert postgres.socket == socket_folder
    postgres.stop()
    assert not socket_folder.exists()


def test_an_initdb_that_was_killed_is_done_again(folder: Path) -> None:
    (folder / ".postgres").mkdir()
    (folder / ".postgres" / "half").write_text("done")
    postgres = Postgres(folder / "postgres", folder / "log", FAST)
    postgres.start()
    assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700
    postgres.stop()
    assert not (folder / ".postgres").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="any other user runs PostgreSQL as themselves")
def test_a_folder_that_postgres_cannot_enter_is_named_with_a_way_out(folder: Path) -> None:
    folder.chmod(0o700)
    with pytest.raises(
        PostgresError, match=rf"runs as user \w+, who cannot enter {folder / 'data'}; choose a data folder such as /srv/studio"
    ):
        Studio(folder / "data", port=0).start()


def test_data_of_other_versions_is_refused_with_their_names(data: Path) -> None:
    version = (data / "postgres" / "PG_VERSION").read_text()
    (data / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match=r"made by PostgreSQL 9, and this machine has \d+.*; install postgresql-9"):
        Studio(data, port=0).start()
    (data / "postgres" / "PG_VERSION").write_text(version)
    (data / "studio.json").write_text('{"label_studio": "9.9.9"}')
    with pytest.raises(StudioError, match=r"used by Label Studio 9.9.9, which 1.23.2 cannot read"):
        Studio(data, port=0).start()
    (data / "studio.json").write_text("{")
    with pytest.raises(StudioError, match=r"studio.json: not JSON"):
        Studio(data, port=0).start()


def test_a_folder_of_somebody_elses_is_left_alone(folder: Path) -> None:
    (folder / "music.wav").write_text("RIFF")
    with pytest.raises(StudioError, match="neither empty nor a data folder"):
        Studio(folder, port=0).start()
    assert [path.name for path in folder.iterdir()] == ["music.wav"]


def test_a_machine_without_postgres_is_told_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.studio.postgres.PLACES", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PostgresError, match="PostgreSQL is not installed; 'apt-get install postgresql' installs it"):
        Studio(folder / "data", port=0).start()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    small = folder / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m,mode=711", "tmpfs", str(small)], check=False, capture_output=True
    ).returncode:
        pytest.skip("this container may not mount a small disk")
    try:
        with pytest.raises(StudioError, match=r"0\.02 GB free, and labels need room"):
            Studio(small / "data", port=0).start()
        with pytest.raises(PostgresError, match=r"PostgreSQL does not start: .*No space left on device"):
            Postgres(small / "postgres", small / "log", FAST).start()
        with pytest.raises(InstallError, match=r"0\.0 GB free, and Label Studio needs 1\.5"):
            install(small / "venv", print)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_environment_of_something_else_is_left_alone(folder: Path) -> None:
    record = folder / "venv" / "lib" / "python3.11" / "site-packages" / "label_studio-1.0.0.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    record.write_text("")
    with pytest.raises(InstallError, match=r"holds Label Studio 1\.0\.0, not 1\.23\.2; EARMARK_STUDIO_VENV names another folder"):
        install(folder / "venv", print)
    (folder / "music").mkdir()
    (folder / "music" / "song.wav").write_text("")
    with pytest.raises(InstallError, match="not a virtual environment"):
        install(folder / "music", print)
    assert install(environment(), print).exists()


def test_wrong_combinations_are_named(folder: Path) -> None:
    with pytest.raises(StudioError, match="leave one of them out"):
        Studio(folder / "data", database="postgresql://a@b/c", single_annotator=True)
    with pytest.raises(StudioError, match=r"postgresql://USER:PASSWORD@HOST:PORT/NAME") as mistake:
        Studio(folder / "data", database="mysql://root:secret@host/name")
    assert "secret" not in str(mistake.value)
    with pytest.raises(StudioError, match="--public-url says by which address"):
        Studio(folder / "data", host="0.0.0.0", port=0).start()
    assert not (folder / "data").exists()
    with pytest.raises(StudioError, match=r"--host 192\.0\.2\.1 --port 8080: Cannot assign requested address"):
        Studio(folder / "data", host="192.0.2.1", single_annotator=True).start()
