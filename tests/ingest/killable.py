"""Ingests on request, each in a process of its own that may be killed.

Reads "update" or "rebuild" from stdin and forks; the child says on stdout which write it
begins, the parent how it ended ("ended 0", or "ended -9" when it was killed).
"""

from __future__ import annotations

import os
import sys
import traceback

import chromadb  # noqa: F401 - imported once, before any fork
from word_embedder import WordEmbedder

from phi3kit import settings
from phi3kit.errors import Phi3kitError
from phi3kit.ingest import batch, faults, kept, reconcile, store, swap

STAGES = ((store.Store, ("add", "relabel", "delete")), (swap, ("_settle", "_sweep")),
          (store, ("create_store",)), (kept, ("forget_state", "write_state")),
          (kept.swap, ("publish",)), (kept.verify, ("verify", "reindex")))


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def told(owner, name):
    real = getattr(owner, name)

    def call(*args, **more):
        say("stage", name.strip("_"))
        return real(*args, **more)

    setattr(owner, name, call)


def main():
    embedder = WordEmbedder()
    reconcile.open_embedder = lambda name, **_: embedder
    batch._CHUNKS = 64
    if sys.argv[1:] == ["careless"]:  # as if the room were taken by others, after we looked
        faults._ROOM = faults._TIMES = 0
    for owner, names in STAGES:
        for name in names:
            told(owner, name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                reconcile.ingest(settings.load().values, ["docs"], rebuild=line == "rebuild\n")
            except Phi3kitError as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(1)
            except BaseException:
                traceback.print_exc()
                os._exit(2)
            os._exit(0)
        say("pid", child)
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
