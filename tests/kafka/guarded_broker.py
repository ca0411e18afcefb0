"""A real broker with a door for each way of getting in, all guarded by access rules."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from ingest_actors.kafka.dev_broker import DevBroker
from ingest_actors.kafka.dev_broker_ports import choose_listeners

DAY = dt.timedelta(days=1)

DOORS = {
    "scram": "SASL_SSL",  # a login over TLS
    "brief": "SASL_SSL",  # the same; whoever is in must log in again every two seconds
    "login": "SASL_PLAINTEXT",  # a login without TLS
    "mutual": "SSL",  # the client's certificate says who it is
    "stale": "SSL",  # the broker's certificate has expired
    "misnamed": "SSL",  # the broker's certificate is for another host
}
REAUTHENTICATE_MS = 2_000


class GuardedBroker(DevBroker):
    """See `DOORS`; beside them the plain listener, where everybody may do anything: for the tests themselves.

    Attributes:
        authority: signs the certificates of the brokers, and those of clients that are let in.
    """

    def __init__(self):
        super().__init__()
        self.authority = trustme.CA(organization_name="guarded broker")
        self.certificates = Path(tempfile.mkdtemp())
        self.authority.cert_pem.write_to_path(self.ca_path)
        self.ports = {}
        self.admin = None

    @property
    def ca_path(self) -> Path:
        return self.certificates / "ca.pem"

    def start(self, checkpoint=lambda: None):
        super().start(checkpoint)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def address(self, door):
        return f"localhost:{self.ports[door]}"

    def settings(self, door, **more):
        """What leads to a door, as the settings have it; not yet what opens it."""
        protocol = DOORS[door]
        given = {"kafka_bootstrap_servers": self.address(door), "kafka_security_protocol": protocol}
        if "SSL" in protocol:
            given["kafka_ssl_ca_location"] = self.ca_path
        if "SASL" in protocol:
            given["kafka_sasl_mechanism"] = "SCRAM-SHA-512"
        return given | more

    def client_certificate(self, directory, name="ingest", *, authority=None, age=None):
        """A certificate and its key, as the settings name them; `age` = how long ago it expired."""
        leaf = (authority or self.authority).issue_cert(name, common_name=name, **({} if age is None else expired(age)))
        leaf.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        leaf.private_key_pem.write_to_path(directory / f"{name}.key")
        return {
            "kafka_ssl_certificate_location": directory / f"{name}.pem",
            "kafka_ssl_key_location": directory / f"{name}.key",
        }

    def set_password(self, user, password):
        """Make a user, or change the password."""
        credential = UserScramCredentialUpsertion(
            user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
        )
        for future in self.admin.alter_user_scram_credentials([credential]).values():
            future.result(10)
        self._wait(lambda: user in self._users())

    def remove_user(self, user):
        gone = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
        for future in self.admin.alter_user_scram_credentials([gone]).values():
            future.result(10)

    def allow(self, user, *rights):
        """Give rights, each (type, name, operation); prefixed where the name ends with ``*``."""
        for future in self.admin.create_acls([_rule(user, *right) for right in rights]).values():
            future.result(10)
        self._wait(lambda: len(self.rules(user)) >= len(set(rights)))

    def take_away(self, user, *rights):
        """Take rights away again; all of them when none is named."""
        filters = [_filter(user, *right) for right in rights] or [_filter(user)]
        for future in self.admin.delete_acls(filters).values():
            future.result(10)

    def rules(self, user):
        return self.admin.describe_acls(_filter(user)).result(10)

    def _users(self):
        return self.admin.describe_user_scram_credentials().result(10)

    def _wait(self, condition):
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)  # the broker hears of it from its controller, a moment later

    def _configure(self, listeners):
        super()._configure(listeners)
        (node,) = self._nodes
        free = choose_listeners(len(DOORS), 0, host="localhost")
        self.ports = {door: listener.port for door, listener in zip(DOORS, free, strict=True)}
        path = node.directory / "server.properties"
        # Of two lines with one name the later one counts.
        path.write_text(path.read_text() + "".join(f"{name}={value}\n" for name, value in self._doors(node).items()))

    def _doors(self, node):
        plain, controller = node.listener.address, f"127.0.0.1:{node.listener.controller_port}"
        names = {door.upper(): protocol for door, protocol in DOORS.items()}
        ports = {door.upper(): port for door, port in self.ports.items()}
        given = {
            "listeners": ",".join(
                [f"PLAINTEXT://{plain}", f"CONTROLLER://{controller}"]
                + [f"{name}://127.0.0.1:{ports[name]}" for name in names]
            ),
            "advertised.listeners": ",".join(
                [f"PLAINTEXT://{plain}"] + [f"{name}://localhost:{ports[name]}" for name in names]
            ),
            "listener.security.protocol.map": ",".join(
                ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"] + [f"{name}:{how}" for name, how in names.items()]
            ),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "listener.name.brief.scram-sha-512.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/,DEFAULT",
        }
        good = self._keystore("good", self.authority.issue_cert("localhost", "127.0.0.1"))
        stores = {
            "stale": self._keystore("stale", self.authority.issue_cert("localhost", **expired(DAY))),
            "misnamed": self._keystore("misnamed", self.authority.issue_cert("kafka.example.com")),
        }
        for door, protocol in DOORS.items():
            prefix = f"listener.name.{door}."
            if "SASL" in protocol:
                given[f"{prefix}scram-sha-512.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
            if "SSL" in protocol.split("_")[-1]:
                given |= {
                    f"{prefix}ssl.keystore.type": "PEM",
                    f"{prefix}ssl.keystore.location": str(stores.get(door, good)),
                    f"{prefix}ssl.truststore.type": "PEM",
                    f"{prefix}ssl.truststore.location": str(self.ca_path),
                }
        return given

    def _keystore(self, name, leaf):
        """PKCS#8 key, then certificate: Java's PEM keystore."""
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), password=None)
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.certificates / f"{name}.pem"
        path.write_bytes(pkcs8 + b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return path


def expired(age):
    """When a certificate was valid that expired so long ago."""
    now = dt.datetime.now(dt.UTC)
    return {"not_before": now - age - 30 * DAY, "not_after": now - age}


@contextmanager
def guarded_broker():
    cluster = GuardedBroker()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(cluster.certificates)


def _rule(user, kind, name, operation):
    pattern = ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL
    return AclBinding(kind, name.removesuffix("*"), pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def _filter(user, kind=ResourceType.ANY, name=None, operation=AclOperation.ANY):
    pattern = ResourcePatternType.ANY
    if name is not None:
        pattern = ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL
        name = name.removesuffix("*")
    return AclBindingFilter(kind, name, pattern, f"User:{user}", None, operation, AclPermissionType.ANY)
