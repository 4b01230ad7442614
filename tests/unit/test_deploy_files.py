"""Container files hold without Docker: compose schema, Dockerfile lint, what they promise."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from deploy.compile_core import MODULES

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_compose_file_fits_the_compose_specification():
    """check-jsonschema ships the specification's own schema, so no Docker is needed."""
    run = subprocess.run(
        [
            BIN / "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            ROOT / "docker-compose.yml",
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_dockerfile_passes_the_linter():
    run = subprocess.run(
        [BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_linter_would_find_a_root_image(tmp_path):
    """The check above can fail: the same linter refuses an image that ends as root."""
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp\nUSER root\n")
    run = subprocess.run([BIN / "hadolint", bad], capture_output=True, text=True)
    assert run.returncode != 0
    assert "DL3002" in run.stdout


def test_the_image_runs_as_a_user_without_rights():
    users = re.findall(r"^USER (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in {"root", "0", "0:0"}


def test_every_service_that_stays_has_a_health_check():
    for name, service in compose()["services"].items():
        assert "healthcheck" in service, name


def test_nothing_listens_on_all_addresses_of_the_host():
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), (name, port)


def test_images_are_pinned():
    for name, service in compose()["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), (name, service["image"])


def test_kafka_of_compose_and_of_the_local_broker_agree():
    """One version everywhere: what the tests prove is what compose runs."""
    assert compose()["services"]["kafka"]["image"] == "apache/kafka:4.3.1"
    assert "kafka_2.13" in (ROOT / "deploy/local_kafka/jars.json").read_text()
    assert "4.3.1" in (ROOT / "deploy/local_kafka/jars.json").read_text()


def test_the_packages_are_listed_and_the_tests_are_not_among_them():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["midgate", "streams", "schemas", "connectors", "auditor", "deploy"]


def test_a_wheel_compiles_the_modules_that_make_compile_does() -> None:
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert [path.lstrip("/") for path in hook["wheel"]["hooks"]["mypyc"]["include"]] == [*MODULES]
