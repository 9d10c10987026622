"""Program that serves the demo in several processes, which share its port and its database.

python -m tests.acceptance.preforked_demo PORT
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from threading import Thread

import django
from django.db import connections

from demo.__main__ import listen, serve

PROCESSES = 4


def main() -> None:
    # As in the demo's own program.
    warnings.simplefilter("ignore")
    django.setup()
    from demo.host.preparing import prepare  # noqa: PLC0415

    server = listen("127.0.0.1", [int(sys.argv[1])])
    prepare()
    # The processes must not share a connection.
    connections.close_all()
    gc.freeze()
    reader, writer = os.pipe()
    for _ in range(PROCESSES - 1):
        if os.fork() == 0:
            os.close(writer)
            Thread(target=_end_with_the_first_process, args=(reader,), daemon=True).start()
            break
    serve(server)


def _end_with_the_first_process(reader: int) -> None:
    # The end of the pipe: the first process is gone, also if it was killed.
    os.read(reader, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
