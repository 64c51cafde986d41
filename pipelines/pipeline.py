"""The script for `ray submit` and `ray job submit --working-dir .`.

Takes the arguments of `earmark run`, and runs on the cluster that it finds itself on. `ray submit` copies this file
alone, so the project is looked for beside it, in the working directory, and in ~/earmark (or $EARMARK_HOME), where the
cluster file puts it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _find_project() -> None:
    here = Path(__file__).resolve()
    places = (here.parents[1], Path.cwd(), Path(os.environ.get("EARMARK_HOME", "~/earmark")).expanduser())
    for place in places:
        if (place / "pipelines" / "cli.py").exists():
            # Python put this script's own folder first, where modules named like other people's may lie.
            sys.path[:] = [str(place)] + [path for path in sys.path if path != str(here.parent)]
            return
    sys.exit(f"pipeline.py: no folder 'pipelines' in {', '.join(map(str, places))}; bring the project to ~/earmark or set EARMARK_HOME")


if __name__ == "__main__":
    _find_project()
    from pipelines.cli import main

    # On a cluster's head, the cluster is meant; RAY_ADDRESS is set in a job and not under `ray submit`.
    meant = [] if "RAY_ADDRESS" in os.environ else ["--address", "auto"]
    sys.exit(main(["run", *meant, *sys.argv[1:]]))
