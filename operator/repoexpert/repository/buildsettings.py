"""What of this machine's settings an installation gets: package index, proxy, certificates. Nobody else gets them."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repoexpert.repository.credentials import redact_urls

_PASSED = re.compile(
    r"UV_(?:DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|INDEX_\w+_(?:USERNAME|PASSWORD)|INSECURE_HOST"
    r"|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|HTTP_RETRIES|CONCURRENT_DOWNLOADS)"
    r"|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(?:https?|all|no)_proxy|(?:HTTPS?|ALL|NO)_PROXY"
)
_SECRET = re.compile(r"UV_INDEX_\w+_(?:USERNAME|PASSWORD)")
_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class BuildSettings:
    """Variables for the installation and files they name, which must be readable inside."""

    variables: Mapping[str, str] = field(repr=False)
    files: tuple[Path, ...] = ()

    def redact(self, text: str) -> str:
        """`text` without the secrets among the variables."""
        for name, value in self.variables.items():
            if _SECRET.fullmatch(name) and value:
                text = text.replace(value, "***")
        return redact_urls(text)


def read_build_settings(environ: Mapping[str, str], home: Path) -> BuildSettings:
    """uv's settings from the environment; where it has no index, pip's (environment, then configuration files)."""
    variables = {name: value for name, value in environ.items() if value and _PASSED.fullmatch(name)}
    index = _pip_setting(environ, home, "index-url")
    if index and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & variables.keys():
        variables["UV_DEFAULT_INDEX"] = index
    extra = _pip_setting(environ, home, "extra-index-url")
    if extra and not {"UV_INDEX", "UV_EXTRA_INDEX_URL"} & variables.keys():
        variables["UV_EXTRA_INDEX_URL"] = " ".join(extra.split())
    files = {Path(variables[name]) for name in _FILES if name in variables}
    return BuildSettings(variables, tuple(sorted(file for file in files if file.is_file())))


def _pip_setting(environ: Mapping[str, str], home: Path, option: str) -> str:
    variable = f"PIP_{option.upper().replace('-', '_')}"
    if environ.get(variable):
        return environ[variable]
    parser = configparser.ConfigParser(interpolation=None)
    named = [Path(environ["PIP_CONFIG_FILE"])] if environ.get("PIP_CONFIG_FILE") else []
    try:
        parser.read([Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf", *named])
    except configparser.Error:
        return ""
    return parser.get("global", option, fallback="").strip()
