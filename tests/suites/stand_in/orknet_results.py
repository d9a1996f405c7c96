"""A plug-in of pytest: each test's outcome as a line of JSON in the file that ORKNET_RESULTS names, as soon as it is known."""

import json
import os

# Tests whose set-up failed have no call; what fails after the call counts too.
_told = {}


def pytest_addoption(parser):
    # pytest-kind's, which it would end its cluster without.
    parser.addoption("--keep-cluster", action="store_true")


def pytest_runtest_logreport(report):
    before = _told.get(report.nodeid)
    outcome = report.outcome
    if report.when != "call" and not (outcome == "failed" or (report.when == "setup" and outcome == "skipped")):
        return
    if before == "failed":
        return
    _told[report.nodeid] = outcome
    with open(os.environ["ORKNET_RESULTS"], "a", encoding="utf-8") as results:
        line = {"name": report.nodeid, "outcome": outcome, "text": report.longreprtext if outcome == "failed" else ""}
        results.write(json.dumps(line) + "\n")


def pytest_collectreport(report):
    if report.failed:
        with open(os.environ["ORKNET_RESULTS"], "a", encoding="utf-8") as results:
            results.write(json.dumps({"name": report.nodeid, "outcome": "failed", "text": report.longreprtext}) + "\n")
