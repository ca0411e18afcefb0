"""A development broker behind SASL_SSL: a certificate authority of its own, SCRAM users, access rules if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingest_actors.errors import DevBrokerFailed

MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class SaslSsl:
    """Who may come in.

    Attributes:
        username: the administrator, whom no rule keeps from anything.
        password: the administrator's.
        users: further users and their passwords.
        acls: whether users other than the administrator may do only what access rules allow.
    """

    username: str = "admin"
    password: str = field(default="admin-secret", repr=False)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    acls: bool = False

    def everyone(self) -> dict[str, str]:
        """All users and their passwords."""
        return {self.username: self.password, **self.users}

    def scram_arguments(self) -> list[str]:
        """What makes StorageTool write the users into a new cluster."""
        return [
            argument
            for name, password in self.everyone().items()
            for argument in ("--add-scram", f"{MECHANISM}=[name={name},password={password}]")
        ]

    def server_settings(self, directory: Path) -> dict[str, str]:
        """What ``server.properties`` needs beside the listener.

        Args:
            directory: where `issue_certificates` has put the files.
        """
        jaas = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{self.username}" password="{self.password}";'
        )
        settings = {
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": jaas,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(directory / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(directory / "ca.pem"),
        }
        if self.acls:
            settings["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            # The controllers speak among themselves without credentials, on loopback.
            settings["super.users"] = f"User:{self.username};User:ANONYMOUS"
        return settings

    def client_settings(self, directory: Path) -> dict[str, str]:
        """What librdkafka needs to come in as the administrator."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": self.username,
            "sasl.password": self.password,
            "ssl.ca.location": str(directory / "ca.pem"),
        }


def issue_certificates(directory: Path) -> None:
    """Write ``ca.pem`` and ``broker.pem`` (PKCS#8 key, then certificate: Java's PEM keystore), unless they are there.

    Raises:
        DevBrokerFailed: trustme, which makes the certificates, is not installed.
    """
    if (directory / "broker.pem").exists():
        return
    try:
        import trustme  # noqa: PLC0415 - comes with the extra for tests; a plain broker needs none of it
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - trustme's own dependency
    except ModuleNotFoundError as error:
        raise DevBrokerFailed(
            "make certificates", str(error), hint="pip install trustme, or 'ingest-actors[test]'"
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="development broker")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority.cert_pem.write_to_path(directory / "ca.pem")
    keystore = directory / "broker.pem"
    keystore.touch(mode=0o600)
    keystore.write_bytes(pkcs8 + b"".join(blob.bytes() for blob in issued.cert_chain_pems))
