"""What runs several nodes: compose file, manifests, proxy and timer, as far as can be judged without them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from threatcloud.config import SETTINGS
from threatcloud.http.protocol import ServerLimits
from threatcloud.http.routes import ENDPOINTS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"
BACKUP = DEPLOY / "systemd" / "threat-cloud-backup.service"
#: The address of PostgreSQL is a setting of the servers that run on it.
VARIABLES = {setting.variable for setting in SETTINGS}
PATHS = {endpoint.path for endpoint in ENDPOINTS}


def program(name: str) -> str:
    """The path of a program; a skip that says which is absent."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def checked(*command: str | Path, environ: dict[str, str] | None = None) -> str:
    """What a program says that must find nothing wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "path", sorted(path for path in DEPLOY.rglob("*") if path.is_file()), ids=lambda path: path.name
)
def test_every_variable_that_is_named_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"\bTC_[A-Z_]+\b", path.read_text("utf-8")))
    assert named <= VARIABLES | {"TC_API_KEY", "TC_URL"}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return document


class TestCompose:
    def test_there_are_three_nodes_and_what_they_need(self) -> None:
        services = compose()["services"]
        assert services.keys() == {"node1", "node2", "node3", "proxy", "postgres", "redis"}
        assert services["node1"] == services["node2"] == services["node3"], "nodes differ in nothing"

    def test_only_the_proxy_can_be_reached(self) -> None:
        document = compose()
        assert [name for name, service in document["services"].items() if "ports" in service] == ["proxy"]
        assert document["networks"]["inside"]["internal"] is True
        for name, service in document["services"].items():
            assert "outside" not in service["networks"] or name == "proxy"

    def test_the_proxy_and_only_the_proxy_is_believed(self) -> None:
        services = compose()["services"]
        address = services["proxy"]["networks"]["inside"]["ipv4_address"]
        assert services["node1"]["environment"]["TC_TRUSTED_PROXIES"] == address

    def test_nothing_secret_is_in_it(self) -> None:
        environment = compose()["services"]["node1"]["environment"]
        assert environment["TC_API_KEYS"].startswith("${TC_API_KEYS:?")
        assert "${POSTGRES_PASSWORD:?" in environment["TC_DATABASE_URL"]
        assert compose()["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")

    def test_nodes_are_confined_and_given_time_to_end(self) -> None:
        node = compose()["services"]["node1"]
        assert node["read_only"] is True
        assert node["cap_drop"] == ["ALL"]
        assert int(node["stop_grace_period"].rstrip("s")) >= ServerLimits().stop_grace_s + 10
        assert "/ready" in node["healthcheck"]["test"][-1]

    def test_what_it_mounts_is_there_or_is_secret(self) -> None:
        ignored = (ROOT / ".gitignore").read_text("utf-8").split()
        assert {"/deploy/compose/.env", "/deploy/compose/secrets/"} <= set(ignored)
        for service in compose()["services"].values():
            for volume in service.get("volumes", ()):
                source = volume.partition(":")[0]
                if source.startswith("."):
                    path = COMPOSE.parent / source
                    assert path.exists() or source.startswith("./secrets/"), source

    def test_a_certain_version_of_everything(self) -> None:
        for name, service in compose()["services"].items():
            assert "build" in service or re.search(r":\d", service["image"]), name


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text("utf-8"))


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [item for item in manifests() if item["kind"] == kind]
    return found


class TestKubernetes:
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = manifest("Deployment")["spec"]["template"]["spec"]
        return spec

    def container(self) -> dict[str, Any]:
        (found,) = self.pod()["containers"]
        return dict(found)

    def test_every_manifest_has_its_shape_and_is_in_the_kustomization(self) -> None:
        for item in manifests():
            assert item["apiVersion"]
            assert item["kind"] == "Kustomization" or item["metadata"]["name"] == "threat-cloud"
        named = set(manifest("Kustomization")["resources"])
        there = {path.name for path in KUBERNETES.glob("*.yaml")}
        assert there - named == {"kustomization.yaml", "secret.example.yaml"}

    def test_alive_and_ready_are_told_apart(self) -> None:
        container = self.container()
        paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness", "startup")}
        assert paths == {"liveness": "/health", "readiness": "/ready", "startup": "/health"}
        assert set(paths.values()) <= PATHS
        (port,) = container["ports"]
        assert container["readinessProbe"]["httpGet"]["port"] == port["name"]
        assert container["readinessProbe"]["timeoutSeconds"] > 2, "as long as /ready waits for a commit"
        alive = container["livenessProbe"]
        assert alive["periodSeconds"] * alive["failureThreshold"] >= 60, "a database that fails over restarts no node"

    def test_the_selectors_find_the_pods(self) -> None:
        labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
        assert manifest("Deployment")["spec"]["selector"]["matchLabels"] == labels
        assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
        assert manifest("Service")["spec"]["selector"] == labels
        assert manifest("Service")["spec"]["ports"][0]["targetPort"] == self.container()["ports"][0]["name"]

    def test_a_drain_leaves_enough_and_can_go_on(self) -> None:
        least = manifest("HorizontalPodAutoscaler")["spec"]["minReplicas"]
        assert 1 <= manifest("PodDisruptionBudget")["spec"]["minAvailable"] < least
        assert least == manifest("Deployment")["spec"]["replicas"]

    def test_secrets_are_those_of_the_secret(self) -> None:
        secret = manifest("Secret")
        for variable in self.container()["env"]:
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            assert "value" in variable or source["name"] == secret["metadata"]["name"]
            assert "value" in variable or source["key"] in secret["stringData"]
        (volume,) = [item["secret"] for item in self.pod()["volumes"] if "secret" in item]
        assert volume["secretName"] == secret["metadata"]["name"]
        assert {item["key"] for item in volume["items"]} <= secret["stringData"].keys()

    def test_no_real_secret_is_in_it(self) -> None:
        for name, value in manifest("Secret")["stringData"].items():
            assert not value or "REPLACE-ME" in value or name == "TC_REDIS_URL"

    def test_the_secret_is_where_the_server_reads_it_with_the_rights_it_wants(self) -> None:
        (start,) = self.pod()["initContainers"]
        *_, mode, _, target = start["command"]
        assert mode == "0600"
        assert {"name": "TC_SECRET_FILE", "value": target} in self.container()["env"]

    def test_pods_are_confined(self) -> None:
        assert self.pod()["securityContext"]["runAsNonRoot"] is True
        assert self.pod()["automountServiceAccountToken"] is False
        for container in (*self.pod()["containers"], *self.pod()["initContainers"]):
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]

    def test_a_stop_has_time(self) -> None:
        pause_s = int(self.container()["lifecycle"]["preStop"]["exec"]["command"][-1])
        assert self.pod()["terminationGracePeriodSeconds"] >= pause_s + ServerLimits().stop_grace_s + 10

    def test_the_mounts_are_volumes(self) -> None:
        volumes = {item["name"] for item in self.pod()["volumes"]}
        for container in (*self.pod()["containers"], *self.pod()["initContainers"]):
            assert {item["name"] for item in container["volumeMounts"]} <= volumes

    def test_kubectl_understands_them(self) -> None:
        rendered = checked(program("kubectl"), "kustomize", KUBERNETES)
        kinds = {item["kind"]: item["metadata"].get("namespace") for item in yaml.safe_load_all(rendered)}
        assert kinds.pop("Namespace") is None
        assert set(kinds.values()) == {"threat-cloud"}


class TestProxy:
    def test_haproxy_understands_it(self, tmp_path: Path) -> None:
        key, certificate = tmp_path / "key", tmp_path / "certificate"
        make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x"]
        haproxy = program("haproxy")
        checked(program("openssl"), *make, "-keyout", key, "-out", certificate)
        (tmp_path / "certs").mkdir()
        (tmp_path / "certs" / "x.pem").write_text(certificate.read_text() + key.read_text())
        copy = tmp_path / HAPROXY.name
        copy.write_text(HAPROXY.read_text("utf-8").replace("/etc/haproxy/certs/", f"{tmp_path}/certs/"), "utf-8")
        checked(haproxy, "-c", "-f", copy)

    def test_it_asks_whether_nodes_are_ready_and_knows_those_of_the_compose_file(self) -> None:
        text = HAPROXY.read_text("utf-8")
        assert "http-check send meth GET uri /ready " in text
        servers = re.findall(r"^    server (\w+) (\w+):4000$", text, re.MULTILINE)
        assert {name for pair in servers for name in pair} == {n for n in compose()["services"] if n.startswith("node")}

    def test_it_takes_what_a_node_takes(self) -> None:
        limits = ServerLimits()
        text = HAPROXY.read_text("utf-8")

        def figure(pattern: str) -> int:
            (found,) = re.findall(pattern, text, re.MULTILINE)
            return int(found)

        assert figure(r"tune\.bufsize (\d+)") > limits.target_bytes + limits.header_bytes
        assert figure(r"timeout server (\d+)s") > limits.body_total_s
        assert figure(r"default-server .* maxconn (\d+)") < limits.connections

    def test_it_repeats_nothing_that_may_have_been_done(self) -> None:
        assert re.findall(r"^ *retry-on (.*)$", HAPROXY.read_text("utf-8"), re.MULTILINE) == ["conn-failure"]


class TestCache:
    PATH = DEPLOY / "nginx" / "feeds-cache.conf"

    def test_nginx_understands_it(self, tmp_path: Path) -> None:
        nginx = program("nginx")
        conf = self.PATH.read_text("utf-8").replace("/var/cache/nginx", str(tmp_path))
        whole = tmp_path / "nginx.conf"
        whole.write_text(
            f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{conf}}}\n", "utf-8"
        )
        checked(nginx, "-t", "-c", whole)

    def test_it_caches_lists_and_nothing_that_is_the_caller_s_own(self) -> None:
        (pattern,) = re.findall(r"location ~ (\S+) {", self.PATH.read_text("utf-8"))
        cached = {path for path in PATHS if re.match(pattern, path)}
        assert cached == {f"/api/feeds/{kind}-blocklist" for kind in ("ip", "domain", "url", "hash")}


class TestBackupTimer:
    @pytest.mark.parametrize("name", ["threat-cloud-backup.service", "threat-cloud-backup.timer"])
    def test_systemd_understands_it(self, tmp_path: Path, name: str) -> None:
        analyze = program("systemd-analyze")
        for path in (BACKUP, BACKUP.with_suffix(".timer")):
            text = path.read_text("utf-8")
            (tmp_path / path.name).write_text(text, "utf-8")
        environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
        checked(analyze, "verify", "--recursive-errors=no", tmp_path / name, environ=environ)

    def test_it_is_well_confined(self) -> None:
        checked(program("systemd-analyze"), "security", "--offline=true", "--threshold=15", BACKUP)

    def test_a_night_is_made_up_for(self) -> None:
        text = BACKUP.with_suffix(".timer").read_text("utf-8")
        assert "Persistent=true" in text
        (calendar,) = re.findall(r"^OnCalendar=(.*)$", text, re.MULTILINE)
        assert "Next elapse" in checked(program("systemd-analyze"), "calendar", calendar)

    def test_it_makes_a_backup_by_a_command_of_ours(self) -> None:
        (command,) = re.findall(r"^ExecStart=(.*)$", BACKUP.read_text("utf-8"), re.MULTILINE)
        assert ".venv/bin/threat-cloud backup /var/backups/threat-cloud/$(date -u +%%F).db --force" in command


def test_the_dashboard_is_json() -> None:
    assert json.loads((DEPLOY / "grafana" / "threat-cloud.json").read_text("utf-8"))["title"] == "Threat Cloud"
