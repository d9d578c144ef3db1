"""`python -m mmsearch` is the command `mmsearch`."""

from mmsearch.cli import main

main()
