"""The command line: `earmark scan`, `run`, `labels`, `campaign`, `queue`, `release`, …, each declared where it is written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pipelines.buckets import way_out
from pipelines.campaigns import cli as campaigns
from pipelines.commands import labels, recipe, recordings, run, store
from pipelines.harmless import harmless_streams
from pipelines.heads import cli as heads
from pipelines.process import single_threaded
from pipelines.queue import cli as queue
from pipelines.release import cli as release
from pipelines.similar import cli as similar
from pipelines.terminal import results, tell
from pipelines.votes import agreement_cli, consensus_cli

# In the order of --help. Heavy imports stand in the commands, so that --help answers at once.
MODULES = (recordings, run, store, recipe, labels, campaigns, agreement_cli, consensus_cli, queue, similar, release, heads)


@harmless_streams()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done; 1 something named failed; 2 a mistake in the command, the recipe or the store; 130 interrupted.
    """
    single_threaded()
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more and getattr(options, "engine", "") != "beam":  # what follows then is Beam's: --runner, --region, ...
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.beam = more
    with results(getattr(options, "json", False)) as result:
        try:
            code: int = options.command(options, result)
        except KeyboardInterrupt:
            tell("\nstopped; the same command goes on where it stopped")
            code = 130
        except BrokenPipeError:
            code = 1
        except OSError as error:
            named = error.filename is not None and error.strerror
            tell(f"earmark: {error.filename}: {error.strerror}" if named else f"earmark: {error}{way_out(str(error))}")
            code = 2
        except ValueError as error:
            tell(f"earmark: {error}{way_out(str(error))}")
            code = 2
        except Exception as error:
            if not _is_ours(error):
                raise
            tell(f"earmark: {error}{way_out(str(error))}")
            code = 2
    return code


def _is_ours(error: Exception) -> bool:
    from pipelines.part import StoreError

    return isinstance(error, StoreError)


class _Parser(argparse.ArgumentParser):
    """Mistakes in one line, which names where more is told: the usage of some commands is longer than a screen."""

    def error(self, message: str) -> NoReturn:
        tell(f"{self.prog}: {message}; '{self.prog} --help' tells more")
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="earmark", description="From a collection of recordings to training sets.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(to: Any, name: str, function: Any, what: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = to.add_parser(name, help=what, description=what, allow_abbrev=False)
        command.set_defaults(command=function)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    for each in MODULES:
        each.add_commands(commands, add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
