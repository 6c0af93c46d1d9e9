"""The command line: parse, call one verb, print, exit. The only room that prints.

stdout is data, stderr is for people. Exit status: 0 done / outputs agree, 1 outputs differ, 2 the input is wrong,
3 a task failed, 4 the bundle is damaged or not trusted, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from fasthep_archive.cli import verbs
from fasthep_archive.cli.output import tell
from fasthep_archive.cli.parser import parser
from fasthep_archive.errors import ArchiveError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line and return the exit status. Bugs raise; what a user can mend never does."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.verb(options)
        sys.stdout.flush()
    except ArchiveError as error:
        tell(f"error: {error}")
        return error.exit_status
    except KeyboardInterrupt:
        kept = "; what was finished is kept, and the same command goes on from there"
        tell(f"interrupted{kept if options.verb is verbs.run else ''}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our stdout has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
