"""The files in docs/deploy: of the form that their programs take, and of commands and figures that there are."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from realtime.cluster import metrics
from realtime.cluster.cards import Card, NodeView, Overview
from realtime.server.common.metrics import DoorMetrics
from tests.support.server import make_studio

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
COMPOSE, KUBERNETES = DEPLOY / "cluster.compose.yaml", DEPLOY / "cluster.kubernetes.yaml"


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(KUBERNETES.read_text()))


def templates() -> list[dict[str, Any]]:
    """What Ray's operator makes pods of, as the kind of Kubernetes that it is."""
    (ray,) = [each["spec"] for each in manifests() if each["kind"] == "RayCluster"]
    found = [ray["headGroupSpec"]["template"], *(group["template"] for group in ray["workerGroupSpecs"])]
    kind = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pods"}}
    return [{**kind, "template": each} for each in found]


def test_the_manifests_are_of_kubernetes_form():
    validate = pytest.importorskip("kubernetes_validate").validate
    known = [each for each in manifests() if each["kind"] != "RayCluster"]
    assert len(known) == 6
    for each in [*known, *templates()]:
        validate(each, "1.31", strict=True)


def test_a_manifest_of_another_form_would_be_noticed():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    wrong = templates()[0]
    wrong["template"]["spec"]["containers"][0]["readinessProbe"] = {"tcp": {"port": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.31", strict=True)


def test_the_compose_file_is_of_its_form():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def commands() -> list[list[str]]:
    """Every `avatar cluster ...` in the files."""
    found = [each.get("command", []) for each in yaml.safe_load(COMPOSE.read_text())["services"].values()]
    pods = [each["spec"]["template"] for each in manifests() if each["kind"] == "Deployment"]
    pods += [each["template"] for each in templates()]
    found += [container["args"] for pod in pods for container in pod["spec"]["containers"]]
    page = (DEPLOY.parent / "pages" / "cluster.md").read_text()
    found += [shlex.split(line.split(" avatar ", 1)[-1].removeprefix("avatar ")) for line in re.findall(
        r"^(?:\w+=\S+ )*avatar cluster .*$", page, re.MULTILINE)]  # fmt: skip
    return [each for each in found if each[:1] == ["cluster"]]


def test_the_commands_in_them_and_on_the_page_have_the_options_that_they_are_given():
    import typer

    from realtime.commands.cluster import app

    group = typer.main.get_command(app)
    found = commands()
    assert {each[1] for each in found} == {"node", "front", "status", "drain"}
    for _, name, *rest in found:
        group.commands[name].make_context(name, [re.sub(r"\$\(\w+\)|\$\{.*?\}", "x", word) for word in rest])


async def test_the_dashboard_asks_for_figures_that_there_are():
    node = NodeView(Card("a", "1", "127.0.0.9", "1", "mesh", 2), 0, 2, 0.1, None, False)
    overview = Overview("1", 1.0, (node,), {"default": 1}, 1, 0, 0, 0)
    text = metrics.text(overview, {"a": await make_studio().metrics()}) + DoorMetrics().text()
    dashboard = json.loads((DEPLOY / "cluster.grafana.json").read_text())
    asked = {n for p in dashboard["panels"] for t in p["targets"] for n in re.findall(r"\bavatar_\w+", t["expr"])}
    assert len(asked) > 10
    assert {name for name in asked if not re.search(rf"^(# TYPE )?{name}\b", text.decode(), re.MULTILINE)} == set()
