"""``python -m demo``: take a port, prepare the databases, print the address and the accounts, and serve."""

from __future__ import annotations

import argparse
import errno
import os
import warnings
from collections.abc import Iterable, Iterator

import django
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

USUAL_PORTS = range(8000, 8100)
"""Without ``--port`` the demo takes the first free one of these."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=port_number,
        metavar="PORT",
        help=f"port to listen on (default: {USUAL_PORTS[0]}, or the next free one)",
    )
    options = parser.parse_args()
    # The packages of the blocks call many deprecated functions, and their warnings would bury the output of the demo.
    warnings.simplefilter("ignore")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    django.setup()
    ports = USUAL_PORTS if options.port is None else [options.port]
    try:
        # Before the databases are prepared: the visitor learns at once that a port is taken.
        server = listen(options.host, ports)
    except OSError as error:
        parser.exit(1, f"The demo can't listen on {options.host}, port {_span(ports)}: {error.strerror}.\n")
    from demo.host.preparing import prepare

    with server:
        prepare()
        serve(server)


def port_number(text: str) -> int:
    """Return the port that `text` names. Port 0 lets the system choose a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)


class ClassroomServer(ThreadedWSGIServer):
    """Django's development server, with room for a class that clicks at the same moment."""

    # Connections that wait to be accepted. Of more, the system resets some, and Django allows ten.
    request_queue_size = 128


def listen(host: str, ports: Iterable[int]) -> ThreadedWSGIServer:
    """Return a server that listens on the first free one of the `ports`. Raises the last ``OSError`` if none is."""
    busy = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    for port in ports:
        try:
            return ClassroomServer((host, port), WSGIRequestHandler, ipv6=":" in host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            busy = error
    raise busy


def _span(ports: Iterable[int]) -> str:
    first, *others = ports
    return f"{first} to {others[-1]}" if others else str(first)


def serve(server: ThreadedWSGIServer) -> None:
    """Print the address and the accounts, and answer requests until Ctrl-C."""
    from django.core.wsgi import get_wsgi_application

    server.set_app(get_wsgi_application())
    print("\n".join(announcement(str(server.server_address[0]), server.server_port)), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nStopped.")


def announcement(host: str, port: int) -> Iterator[str]:
    """Yield the lines that a visitor needs: the address, the accounts, and the place of new history."""
    from demo.host.accounts import ACCOUNTS, PASSWORD
    from demo.host.content import get_course
    from demo.host.preparing import where_new_entries_go

    address = f"[{host}]" if ":" in host else host
    yield f"\n  {get_course().title}: http://{address}:{port}/\n\n  Log in as"
    for account in ACCOUNTS:
        role = "staff" if account.is_staff else "learner"
        yield f"    {account.username:<8} ({role}), password {PASSWORD}"
    yield f"\n  New history goes to the {where_new_entries_go()}."
    yield "\n  Stop with Ctrl-C. Learners' state is kept for the next start.\n"


if __name__ == "__main__":
    main()
