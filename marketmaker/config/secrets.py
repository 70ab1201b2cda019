"""Where secrets come from: the environment, a private file, systemd's credentials, the keyring, the vault or the text.

    ${NAME}              an environment variable
    ${file:PATH}         a file that nobody else may read
    ${credential:NAME}   a systemd credential
    ${keyring:NAME}      the desktop's or the server's keyring, service `marketmaker`

No message here holds a value; it names the variable or the file that was asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from marketmaker.config.fields import Refused
from marketmaker.config.yaml_source import Node, Scalar
from marketmaker.errors import ConfigError
from marketmaker.private_files import read_private

if TYPE_CHECKING:
    from marketmaker.vault import Vault

ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
CREDENTIAL = re.compile(r"\$\{credential:([A-Za-z0-9_][A-Za-z0-9_.-]*)\}", re.ASCII)
FILE = re.compile(r"\$\{file:([^{}$]+)\}")
KEYRING = re.compile(r"\$\{keyring:([A-Za-z0-9_][A-Za-z0-9_.@/-]*)\}", re.ASCII)
FORMS = (
    "write ${NAME} for an environment variable, ${file:PATH} for a private file, "
    "${credential:NAME} for a systemd credential or ${keyring:NAME}"
)
MAX_SECRET_BYTES = 1 << 16
KEYRING_SERVICE = "marketmaker"


def raw_secret(node: Node) -> str:
    """The text as written, before expansion; a key of digits only keeps its leading zeros."""
    if not isinstance(node, Scalar):
        raise Refused(f"is not a single value; {FORMS}")
    if not node.text or node.is_null:
        raise Refused(f"is empty; {FORMS}, or remove the key")
    return node.text


def expand_secret(text: str, environ: Mapping[str, str]) -> str:
    """The secret a configured text stands for. Raises Refused."""
    if "${" not in text:
        return usable(text, "the value")
    if found := ENVIRONMENT.fullmatch(text):
        name = found[1]
        if name not in environ:
            raise Refused(
                f"environment variable {name} is not set; set it before starting, "
                "or use ${credential:NAME}"
            )
        return usable(environ[name], f"environment variable {name}")
    if found := CREDENTIAL.fullmatch(text):
        return usable(read_credential(found[1], environ), f"credential {found[1]}")
    if found := FILE.fullmatch(text):
        return usable(read_secret_file(found[1]), f"file {found[1]}")
    if found := KEYRING.fullmatch(text):
        return usable(read_keyring(found[1]), f"keyring entry {found[1]}")
    raise Refused(f"holds a ${{...}} that is not understood; {FORMS}, and nothing beside it")


def read_credential(name: str, environ: Mapping[str, str]) -> str:
    path = credential_path(name, environ)
    try:
        with path.open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Refused(f"credential {name} is not text; store it as UTF-8") from None
    except OSError as error:
        raise Refused(
            f"credential {name} cannot be read ({os.strerror(error.errno or 0)}); "
            f"add LoadCredential={name}:PATH to the unit"
        ) from None


def credential_path(name: str, environ: Mapping[str, str]) -> Path:
    """systemd itself guards what is in its directory. Raises Refused."""
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise Refused(
            f"credential {name} is asked for but CREDENTIALS_DIRECTORY is not set; "
            f"run under systemd with LoadCredential={name}:PATH"
        )
    return Path(folder) / name


def read_secret_file(path: str) -> str:
    try:
        return read_private(os.path.expanduser(path)).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Refused(f"file {path} is not text; store it as UTF-8") from None
    except ConfigError as error:
        raise Refused(f"file {error}") from None


def read_keyring(name: str) -> str:
    try:
        import keyring  # noqa: PLC0415  (slow to load, seldom asked for)
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ModuleNotFoundError:
        raise Refused(
            "the keyring needs the extra: install it with pip install 'marketmaker[keys]'"
        ) from None
    try:
        secret = keyring.get_password(KEYRING_SERVICE, name)
    except KeyringError as error:
        raise Refused(
            f"the keyring cannot be asked ({' '.join(str(error).split())}); use ${{file:PATH}}"
        ) from None
    if secret is None:
        raise Refused(
            f"keyring entry {name} is not there; store it with `keyring set {KEYRING_SERVICE} {name}`"
        )
    return secret


def usable(secret: str, source: str) -> str:
    if not secret:
        raise Refused(f"{source} is empty; give it the secret")
    if not secret.isprintable() or secret != secret.strip():
        raise Refused(
            f"{source} has spaces around it or a control character in it; store the secret alone"
        )
    return secret


def open_configured_vault(path: str, unlock: str, environ: Mapping[str, str]) -> Vault:
    """The vault at `path` (or in the credential it names), opened by an expanded `unlock`.

    Raises ConfigError, or Refused for a credential that is not there.
    """
    try:
        from marketmaker import vault  # noqa: PLC0415  (cryptography is loaded where a vault is)
    except ModuleNotFoundError:
        raise ConfigError(
            "the vault needs the extra: install it with pip install 'marketmaker[keys]'"
        ) from None
    if found := CREDENTIAL.fullmatch(path):
        try:
            content = credential_path(found[1], environ).read_bytes()
        except OSError as error:
            raise Refused(
                f"credential {found[1]} cannot be read ({os.strerror(error.errno or 0)}); "
                f"add LoadCredential={found[1]}:PATH to the unit"
            ) from None
        return vault.vault_from(content, f"credential {found[1]}", unlock)
    return vault.open_vault(path, unlock)
