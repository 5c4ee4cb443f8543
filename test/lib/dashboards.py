#!/usr/bin/env python3
"""What deploy/grafana and deploy/prometheus ask Prometheus for.

    dashboards.py names      the metrics in all expressions, one a line
    dashboards.py queries    "panel TITLE<tab>EXPRESSION" and "alert NAME<tab>EXPRESSION", with values for Grafana's variables
    dashboards.py manual     the metrics of secretlet(8), which a test compares with the daemon's
    dashboards.py untested   alerts without a test of their own in alerts_test.yaml
"""
import json
import pathlib
import re
import sys

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
# Grafana's for a panel of an hour, scraped each second
VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}


def rules():
    document = yaml.safe_load((TOP / "deploy/prometheus/alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries():
    board = json.loads((TOP / "deploy/grafana/secretlet.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]


def substituted(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    if "$" in expression:
        raise SystemExit(f"a variable without a value: {expression}")
    return expression


def names():
    found = set()
    for _, expression in queries():
        found |= set(re.findall(r"\bsecretlet_\w+", expression))
    board = (TOP / "deploy/grafana/secretlet.json").read_text()
    found |= set(re.findall(r"label_values\((\w+)", board))
    return {re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name) for name in found}


def manual():
    return re.findall(r"^\.It Li (secretlet_\w+)", (TOP / "man/secretlet.8").read_text(), re.MULTILINE)


def untested():
    tests = yaml.safe_load((TOP / "deploy/prometheus/alerts_test.yaml").read_text())["tests"]
    fired, quiet = set(), set()
    for test in tests:
        for case in test["alert_rule_test"]:
            (fired if case["exp_alerts"] else quiet).add(case["alertname"])
    return [rule["alert"] for rule in rules() if rule["alert"] not in fired & quiet]


WHAT = {
    "names": lambda: sorted(names()),
    "queries": lambda: (f"{where}\t{substituted(expression)}" for where, expression in queries()),
    "manual": lambda: sorted(manual()),
    "untested": untested,
}
for line in WHAT[sys.argv[1]]():
    print(line)
