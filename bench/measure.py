"""``python -m bench.measure WORKLOAD FOLDER``: measure on the database of ``DATABASE_URL``; `bench` starts it.

Prints the product and what was measured as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench.environment import WORKLOADS, load, set_up
from bench.sizes import database_version


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    set_up(folder, os.environ["DATABASE_URL"], WORKLOADS[name].settings)
    print(json.dumps({"database": database_version(), "results": load(name).measure(folder)}))


if __name__ == "__main__":
    main()
