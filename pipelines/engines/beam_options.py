"""Options of Beam pipelines, read before anything runs: Beam drops what it does not know, and waits minutes for a silent job server."""

from __future__ import annotations

import difflib
import logging
import socket
from collections.abc import Sequence
from typing import Any, NoReturn

SERVER_SECONDS = 20.0


def check(words: Sequence[str], ours: Sequence[str] = ()) -> None:
    """Refuse options that Beam would drop, and a runner that is not there.

    Args:
        words: the options, as they stand on the command line.
        ours: options of the command itself, which may be what was meant.
    Raises:
        ValueError: a word that is no option, a value that is none, a runner that is unknown, or that lacks an option or a package.
        ConnectionError: no job server answers.
    """
    logging.getLogger().setLevel(logging.CRITICAL)  # Beam tells at its import of what it does not need, and later what we tell in a line
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners.portability.portable_runner import PortableRunner
    from apache_beam.runners.runner import create_runner

    _parser().parse_known_args(list(words))  # a value that is none is named here, and not by a usage of two hundred lines
    options = PipelineOptions(list(words))
    name = options.view_as(StandardOptions).runner or StandardOptions.DEFAULT_RUNNER
    try:
        runner = create_runner(name)
    except Exception as error:  # a runner is whatever is found under its name
        raise ValueError(f"--runner={name}: {_line(error)}") from error
    parser = _parser()  # the runner may have brought options of its own
    endpoint = options.view_as(PortableOptions).job_endpoint
    if endpoint and endpoint != "embed":
        for each in _of_server(endpoint):
            if f"--{each}" not in parser._option_string_actions:
                parser.add_argument(f"--{each}", nargs="?")
    _, unknown = parser.parse_known_args(list(words))
    known = [*parser._option_string_actions, *ours]
    # A runner that starts its own job server, in Java, learns only there which options there are.
    lenient = isinstance(runner, PortableRunner) and not endpoint
    for word in unknown:
        flag = word.partition("=")[0]
        near = difflib.get_close_matches(flag, known, 1, 0.8 if lenient else 0.6)
        if near:
            raise ValueError(f"{word}: neither an option of Beam nor of earmark; {near[0]} is one")
        if not lenient:
            raise ValueError(f"{word}: neither an option of Beam nor of earmark; Beam's are written --NAME=VALUE")
    if mistakes := PipelineOptionsValidator(options, runner).validate():
        raise ValueError(f"--runner={name}: {' '.join(' '.join(mistakes).split())}")


def _parser() -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    found: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=found.append)
    found[0].error = _refuse
    return found[0]


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _of_server(endpoint: str) -> list[str]:
    """The options that a job server has, by name."""
    import grpc  # type: ignore[import-untyped]
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SERVER_SECONDS).close()  # gRPC would try again and again
        with grpc.insecure_channel(endpoint) as channel:
            server = beam_job_api_pb2_grpc.JobServiceStub(channel)
            said = server.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=SERVER_SECONDS)
    except ValueError as error:
        raise ValueError(f"--job_endpoint={endpoint}: not HOST:PORT") from error
    except (OSError, grpc.RpcError) as error:
        why = error.details() if isinstance(error, grpc.Call) else _line(error)
        raise ConnectionError(f"--job_endpoint={endpoint}: no Beam job server answers ({why})") from error
    return [option.name for option in said.options]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
