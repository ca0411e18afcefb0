"""deploy/kubernetes: what the manifests say is what the product and its image say."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from ingest_actors.checks import RELOADABLE, start_problems
from ingest_actors.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent.parent
KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
AFTER_THE_DRAIN_S = 10
KUSTOMIZE = next(
    (command for command in (["kubectl", "kustomize"], ["kustomize", "build"]) if shutil.which(command[0])), None
)
UNITS = {"Mi": 1024**2, "Gi": 1024**3}


def size(text):
    return int(text[:-2]) * UNITS[text[-2:]]


def rendered(directory):
    """Every object that kustomize makes, by kind; without kustomize the test is skipped."""
    if KUSTOMIZE is None:
        pytest.skip("neither kubectl nor kustomize is here")
    answer = subprocess.run([*KUSTOMIZE, str(KUBERNETES / directory)], capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    return {found["kind"]: found for found in yaml.safe_load_all(answer.stdout)}


@pytest.fixture(scope="module")
def stateful():
    return yaml.safe_load((KUBERNETES / "base" / "statefulset.yaml").read_text())["spec"]


@pytest.fixture(scope="module")
def pod(stateful):
    return stateful["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    [only] = pod["containers"]
    return only


def environment(container):
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def settings(container, directory):
    return Settings.from_env(KUBERNETES / directory / "settings.env", environment(container), checks=[start_problems])


def test_the_product_accepts_the_settings(container):
    assert settings(container, "base").http_host == "0.0.0.0"
    assert settings(container, "base").max_retries == 0


def test_the_product_accepts_the_example_s_settings_with_its_secrets(container, tmp_path):
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    example = KUBERNETES / "overlays" / "example"
    for line in (example / "secrets.example.env").read_text().splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            (tmp_path / name).write_text(value)
    file = tmp_path / "settings.env"
    file.write_text((example / "settings.env").read_text().replace(mount["mountPath"], str(tmp_path)))
    found = Settings.from_env(file, environment(container), checks=[start_problems])
    assert found.kafka_sasl_password_file == tmp_path / "kafka-password"


def test_the_pod_has_ten_seconds_more_than_the_drain_may_take(pod, container):
    deadline_s = settings(container, "base").shutdown_timeout_seconds
    assert pod["terminationGracePeriodSeconds"] == deadline_s + AFTER_THE_DRAIN_S


def test_there_is_one_writer_and_a_roll_back_is_never_stuck(stateful):
    assert stateful["replicas"] == 1
    assert stateful["podManagementPolicy"] == "Parallel"


def test_nothing_of_the_cluster_reaches_the_environment_or_the_pod(pod):
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False


def test_the_probes_ask_what_the_product_answers(container):
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    [port] = container["ports"]
    assert {probe["httpGet"]["port"] for name, probe in container.items() if name.endswith("Probe")} == {port["name"]}
    assert str(port["containerPort"]) == environment(container)["HTTP_PORT"]


def test_the_pod_keeps_the_restricted_standard(pod, container):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, as of 1.33."""
    of_pod, of_container = pod["securityContext"], container["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {key for volume in pod["volumes"] for key in volume} == {"name", "emptyDir", "configMap", "secret"}


def test_the_user_is_the_image_s(pod):
    [user] = re.findall(r"^USER (\d+):(\d+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    of_pod = pod["securityContext"]
    assert [of_pod["runAsUser"], of_pod["runAsGroup"]] == [int(number) for number in user]
    assert of_pod["fsGroup"] == of_pod["runAsGroup"]


def test_all_that_the_service_writes_to_is_mounted(container, stateful):
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/tmp", environment(container)["SPOOL_DIR"]}
    [claim] = stateful["volumeClaimTemplates"]
    assert size(claim["spec"]["resources"]["requests"]["storage"]) > 1.1 * settings(container, "base").spool_max_bytes


def test_memory_is_bounded_above_what_the_service_itself_bounds(container):
    resources = container["resources"]
    assert size(resources["limits"]["memory"]) > 4 * settings(container, "base").buffer_max_bytes
    assert "cpu" not in resources["limits"]


def test_what_a_reload_takes_over_stands_in_the_file_that_is_mounted(container):
    assert not {name.lower() for name in environment(container)} & RELOADABLE
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "settings"]
    assert "subPath" not in mount
    assert container["args"] == ["run", "--env-file", f"{mount['mountPath']}/settings.env"]


def test_what_is_scraped_is_what_is_served(stateful):
    assert (
        stateful["template"]["metadata"]["annotations"]
        | {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "8000",
            "prometheus.io/path": "/metrics",
        }
        == stateful["template"]["metadata"]["annotations"]
    )


def test_a_change_of_the_settings_is_a_roll_out():
    found = rendered("base")
    name = found["ConfigMap"]["metadata"]["name"]
    assert re.fullmatch("ingest-actors-[a-z0-9]{10}", name)
    volumes = {volume["name"]: volume for volume in found["StatefulSet"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["settings"]["configMap"]["name"] == name


def test_the_example_runs_this_release_with_its_own_settings_and_secrets():
    found = rendered("overlays/example")
    assert {thing["metadata"].get("namespace") for kind, thing in found.items() if kind != "Namespace"} == {
        found["Namespace"]["metadata"]["name"]
    }
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert pod["containers"][0]["image"].endswith(f"/ingest-actors:{version}")
    assert "*USDT" in found["ConfigMap"]["data"]["settings.env"]
    secret = found["Secret"]["metadata"]["name"]
    assert {"kafka-password", "http-token", "kafka-ca.pem"} == found["Secret"]["data"].keys()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secrets"]["secret"]["secretName"] == secret


def test_the_example_s_monitor_takes_the_place_of_the_annotations():
    found = rendered("overlays/example")
    [endpoint] = found["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    annotations = found["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]
    assert not [name for name in annotations if name.startswith("prometheus.io/")]
