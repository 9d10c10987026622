"""``python -m bench.workloads.measure WORKLOAD FOLDER`` measures on the database of ``DATABASE_URL``.

It prints the database's version and the results as JSON. `bench` starts it for each database.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench.site.environment import set_up
from bench.site.sizes import database_version
from bench.workloads import WORKLOADS, load


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    set_up(folder, os.environ["DATABASE_URL"], WORKLOADS[name].settings)
    print(json.dumps({"database": database_version(), "results": load(name).measure(folder)}))


if __name__ == "__main__":
    main()
