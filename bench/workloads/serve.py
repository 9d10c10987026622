"""``python -m bench.workloads.serve LEARNER TOKEN NUMBER`` profiles the service without a server.

It calls the application of ``make serve`` with so many requests for one block, and prints the microseconds of processor
time that each part takes for a request, as JSON. `bench.workloads.remote` starts it.
"""

from __future__ import annotations

import cProfile
import json
import sys
from io import BytesIO
from time import process_time
from typing import Any

from bench.site.data import blocks_of
from bench.workloads.profiling import MESSAGES, shares
from xblock_user_state import wire
from xblock_user_state.state.keys import LEARNER_SCOPES

PARTS = {
    "token and account": r"/service/(tokens|authenticating|callers|throttling)\.py|/store/users\.py|/jwt/",
    "access log": r"/service/access_log\.py|/logging/|/uuid\.py",
    "messages": MESSAGES,
    "the rest of the service": r"/xblock_user_state/service/",
    "policy, client and store": r"/xblock_user_state/|/opaque_keys/|/xblock/",
    "Ninja": r"/ninja/|/pydantic",
    "Django": r"/django/|/asgiref/",
    "driver": r"/psycopg/",
}
WARMING = 20


def main() -> None:
    # Late: it sets Django up.
    from demo.service_site.wsgi import application  # noqa: PLC0415

    learner, token, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    body = wire.encode(
        wire.ReadRows(learner=learner, rows=[wire.Address.of_key(LEARNER_SCOPES[0], blocks_of(0)[0].key)])
    )
    for _ in range(WARMING):
        _answered(application, body, token)
    since = process_time()
    for _ in range(number):
        _answered(application, body, token)
    each, profile = (process_time() - since) / number, cProfile.Profile()
    for _ in range(number):
        profile.runcall(_answered, application, body, token)
    print(json.dumps({part: share * each * 1e6 for part, share in shares(profile, PARTS).items()}))


def _answered(application: Any, body: bytes, token: str) -> None:
    statuses: list[str] = []

    def start(status: str, *_: Any) -> Any:
        statuses.append(status)

    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": f"/user-state/{wire.VERSION}/{wire.ReadRows.path}",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": wire.JSON,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_ACCEPT_ENCODING": "gzip",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    response = application(environ, start)
    b"".join(response)
    response.close()
    if statuses != ["200 OK"]:
        raise RuntimeError(f"the service answered {statuses}")


if __name__ == "__main__":
    main()
