"""Where secrets come from: the environment (`${NAME}`), systemd's credentials (`${credential:NAME}`) or the file.

No message here holds a value; it names the variable or the file that was asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from marketmaker.config.fields import Refused
from marketmaker.config.yaml_source import Node, Scalar

ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
CREDENTIAL = re.compile(r"\$\{credential:([A-Za-z0-9_][A-Za-z0-9_.-]*)\}", re.ASCII)
FORMS = "write ${NAME} for an environment variable or ${credential:NAME} for a systemd credential"
MAX_SECRET_BYTES = 1 << 16


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
    raise Refused(f"holds a ${{...}} that is not understood; {FORMS}, and nothing beside it")


def read_credential(name: str, environ: Mapping[str, str]) -> str:
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise Refused(
            f"credential {name} is asked for but CREDENTIALS_DIRECTORY is not set; "
            f"run under systemd with LoadCredential={name}:PATH"
        )
    try:
        with (Path(folder) / name).open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Refused(f"credential {name} is not text; store it as UTF-8") from None
    except OSError as error:
        raise Refused(
            f"credential {name} cannot be read ({os.strerror(error.errno or 0)}); "
            f"add LoadCredential={name}:PATH to the unit"
        ) from None


def usable(secret: str, source: str) -> str:
    if not secret:
        raise Refused(f"{source} is empty; give it the secret")
    if not secret.isprintable() or secret != secret.strip():
        raise Refused(
            f"{source} has spaces around it or a control character in it; store the secret alone"
        )
    return secret
