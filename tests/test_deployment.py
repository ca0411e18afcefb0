"""The files around the product say what the product says: compose, image, dependencies."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ingest_actors.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent

NOT_FOR_COMPOSE = {
    # The compose file's own Kafka is plain and has one node.
    "KAFKA_TOPIC_REPLICATION",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SASL_PASSWORD_FILE",
    "KAFKA_SSL_CA_LOCATION",
    "KAFKA_SSL_CERTIFICATE_LOCATION",
    "KAFKA_SSL_KEY_LOCATION",
    # No fixed names.
    "KAFKA_PRODUCER_OPTIONS",
    "KAFKA_CLIENT_OPTIONS",
    # The image says.
    "HTTP_HOST",
}
FIXED = {"KAFKA_BOOTSTRAP_SERVERS", "MAX_RETRIES", "HTTP_PORT", "SPOOL_DIR"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def requirements(project):
    """Every requirement, with the extra that it belongs to."""
    yield from (("", Requirement(text)) for text in project["dependencies"])
    for extra, texts in project["optional-dependencies"].items():
        yield from ((extra, Requirement(text)) for text in texts)


def test_compose_hands_every_setting_on_or_fixes_it():
    text = (REPOSITORY / "docker-compose.yml").read_text()
    environment = text[text.index("x-ingest:") : text.index("  read_only:")]
    fixed = set(re.findall(r"^    - ([A-Z_]+)=", environment, re.MULTILINE))
    passed = set(re.findall(r"^    - ([A-Z_]+)$", environment, re.MULTILINE))
    settings = {name.upper() for name in Settings.model_fields} - NOT_FOR_COMPOSE
    assert fixed == FIXED
    assert passed == settings - FIXED | {"HTTPS_PROXY", "NO_PROXY"}


def test_compose_opens_ports_to_this_machine_only():
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    ports = {port for service in services.values() for port in service.get("ports", ())}
    assert ports == {f"127.0.0.1:{number}:{number}" for number in (3000, 8000, 8080, 9090, 9092)}


def test_the_spool_of_compose_is_a_volume_that_the_image_s_user_may_write():
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    [directory] = re.findall(r"^    - SPOOL_DIR=(\S+)", (REPOSITORY / "docker-compose.yml").read_text(), re.MULTILINE)
    assert services["binance-ingestion"]["volumes"] == [f"spool-data:{directory}"]
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert f'"--owner=10001", "--group=10001", "{directory}"]' in dockerfile


def test_the_image_is_labelled_with_this_release(project):
    assert f"\nARG VERSION={project['version']}\n" in (REPOSITORY / "Dockerfile").read_text()


def test_the_tools_of_the_request_are_there_and_can_be_run():
    for name in ("kafka-topics", "kafka-console-consumer"):
        tool = REPOSITORY / "deploy" / "compose" / "bin" / name
        assert tool.stat().st_mode & 0o111 == 0o111
        assert f"/opt/kafka/bin/{name}.sh" in run_with_a_fake_kafka(tool)


def run_with_a_fake_kafka(tool):
    """What the tool would run, as the shell tells it."""
    return subprocess.run(["/bin/sh", "-x", str(tool), "--list"], capture_output=True, text=True, check=False).stderr


def test_what_the_image_copies_reaches_the_builder():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {path for line in copied for path in line.split()} == let_through
    assert all((REPOSITORY / path).exists() for path in let_through)


def test_the_image_has_a_known_version_of_every_dependency(project):
    lines = (REPOSITORY / "deploy" / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    for extra, requirement in requirements(project):
        if not extra:
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


def test_every_dependency_has_a_reason(project):
    text = (REPOSITORY / "docs" / "DEPENDENCIES.md").read_text()
    rows = re.findall(r"^\| (?:`([\w-]+)` \| )?`([\w-]+)` \| (\S.*) \|$", text, re.MULTILINE)
    explained = {(extra, package) for extra, package, reason in rows if reason}
    wanted = {(extra, requirement.name) for extra, requirement in requirements(project)}
    assert explained == {(extra, name) for extra, name in wanted if name != project["name"]}
