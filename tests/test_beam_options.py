"""Options of Beam: what nobody knows, and who does not answer, is told in a line before anything runs."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from pipelines.engines.beam_options import check

PORTABLE = "--runner=PortableRunner"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--direct_num_worker=2"], "--direct_num_worker=2: neither an option of Beam nor of earmark; --direct_num_workers is one"),
        (["--retry-reject"], "--retry-reject: neither an option of Beam nor of earmark; --retry-rejects is one"),
        (["other.toml"], "other.toml: neither an option of Beam nor of earmark; Beam's are written --NAME=VALUE"),
        (["--zzz", "3"], "--zzz: neither an option of Beam nor of earmark; Beam's are written --NAME=VALUE"),
        (["--direct_num_workers=two"], "argument --direct_num_workers: invalid int value: 'two'"),
        (["--runner=FlinkRunner", "--flink_mastr=x"], "--flink_mastr=x: neither an option of Beam nor of earmark; --flink_master is one"),
        (["--runner=Nonsense"], "--runner=Nonsense: Unexpected pipeline runner: Nonsense. Valid values are "),
        (["--runner=no_such.module.Runner"], "--runner=no_such.module.Runner: No module named 'no_such'"),
        (["--runner=DataflowRunner", "--project=p"], "--runner=DataflowRunner: Missing GCS path option: temp_location."),
        ([PORTABLE, "--job_endpoint=nowhere"], "--job_endpoint=nowhere: not HOST:PORT"),
    ],
)
def test_a_mistake_in_an_option_of_beam_is_one_line(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(said)) as raised:
        check(words, ["--retry-rejects"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--runner=DirectRunner", "--direct_num_workers=2"],
        ["--runner", "direct", "--direct_running_mode", "multi_threading"],
        # Options that only a job server's Java knows: it is started later.
        ["--runner=SparkRunner", "--cache_disabled=true"],
    ],
)
def test_options_of_beam_pass(words: list[str]) -> None:
    check(words)


@pytest.fixture
def server() -> Iterator[str]:
    """A job server with an option of its own, as Flink's and Spark's have."""
    from apache_beam.portability.api import beam_job_api_pb2
    from apache_beam.runners.portability.local_job_service import LocalJobServicer

    class Server(LocalJobServicer):  # type: ignore[misc]
        def DescribePipelineOptions(self, request: object, context: object = None, timeout: object = None) -> object:
            option = beam_job_api_pb2.PipelineOptionDescriptor(name="shutdown_sources_after_idle_ms")
            return beam_job_api_pb2.DescribePipelineOptionsResponse(options=[option])

    each = Server(None)
    yield f"localhost:{each.start_grpc_server(0)}"
    each.stop()


def test_a_job_server_is_asked_which_options_it_has(server: str) -> None:
    there = [PORTABLE, f"--job_endpoint={server}", "--environment_type=LOOPBACK"]
    check([*there, "--shutdown_sources_after_idle_ms=5"])
    with pytest.raises(ValueError, match="--shutdown_sources_after_idle_ms is one"):
        check([*there, "--shutdown_sources_after_idle=5"])


def test_a_job_server_that_is_not_there_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))  # and does not listen
        endpoint = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=rf"^--job_endpoint={endpoint}: no Beam job server answers \([^\n]+\)$"):
            check([PORTABLE, f"--job_endpoint={endpoint}"])
