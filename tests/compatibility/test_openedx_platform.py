"""The Open edX platform's own tests of learner state, grades, instructor tasks and reports, on our store.

``OPENEDX_PLATFORM`` names a working tree of the platform, and ``OPENEDX_PYTHON`` an interpreter that has its
requirements, Django 5.2, XBlock 5.3, mongomock and our dependencies. Without them the tests are skipped. They take half
an hour.

A test counts if it passes with the platform's own store. Of these, those that fail with ours must be the ones that
``openedx_platform/differences.toml`` lists, each with a reason.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.documentation import ROOT

HERE = Path(__file__).parent / "openedx_platform"
DIFFERENCES = tomllib.loads((HERE / "differences.toml").read_text())
MODULES = DIFFERENCES["modules"]
ENTRY_POINTS = """\
[lms.djangoapp]
xblock_user_state_openedx = xblock_user_state.openedx.apps:OpenedxConfig
[cms.djangoapp]
xblock_user_state_openedx = xblock_user_state.openedx.apps:OpenedxConfig
"""

pytestmark = [
    pytest.mark.skipif("OPENEDX_PLATFORM" not in os.environ, reason="OPENEDX_PLATFORM names no working tree"),
    pytest.mark.timeout(7200),
]


def expected() -> dict[str, str]:
    """Return the reasons of the tests that fail with our store."""
    return {test: group["reason"] for group in DIFFERENCES["difference"] for test in group["tests"]}


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that makes our source tree an installed distribution, with the entry points of the plugin."""
    folder = tmp_path_factory.mktemp("distribution")
    info = folder / "xblock_user_state-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xblock-user-state\nVersion: 0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def outcomes(stage: str, distribution: Path) -> Mapping[str, bool]:
    """Run the platform's tests at a stage; return for each whether it passed. Skipped tests are left out."""
    report = distribution / f"{stage}.xml"
    platform = os.environ["OPENEDX_PLATFORM"]
    # The platform's tests write a list of warnings there.
    Path(platform, "test_root/log").mkdir(parents=True, exist_ok=True)
    paths = [str(path) for path in (ROOT / "src", HERE, distribution, platform)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENEDX_STAGE": stage}
    options = [
        "-q",
        "-p",
        "platform_plugin",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "--ds=settings",
        f"--junitxml={report}",
    ]
    command = [os.environ["OPENEDX_PYTHON"], "-m", "pytest", *options, *MODULES]
    with (distribution / f"{stage}.log").open("w") as log:
        subprocess.run(command, cwd=platform, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    found = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - we have made it
        if case.find("skipped") is None:
            failed = case.find("failure") is not None or case.find("error") is not None
            found[f"{case.get('classname')}.{case.get('name')}"] = not failed
    return found


def test_the_platforms_tests_pass_on_our_store_except_for_the_listed_ones(distribution: Path) -> None:
    reference = {test for test, passed in outcomes("off", distribution).items() if passed}
    ours = {test for test, passed in outcomes("alone", distribution).items() if passed}
    assert len(reference) >= DIFFERENCES["at_least"]
    assert reference - ours == expected().keys() & reference
