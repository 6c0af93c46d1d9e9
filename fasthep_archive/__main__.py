"""``python -m fasthep_archive`` is the command too."""

import sys

from fasthep_archive.cli import main

if __name__ == "__main__":
    sys.exit(main())
