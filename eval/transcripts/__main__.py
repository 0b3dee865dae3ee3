"""``python -m eval.transcripts RUN``."""

from __future__ import annotations

from econmoral.files.records import command

from . import main

if __name__ == "__main__":
    command(main)
