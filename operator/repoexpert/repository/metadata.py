"""What a project's files declare: pyproject.toml, setup.cfg and setup.py, read and never run. Pure."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_VCS_MARKS = re.compile(
    r"setuptools[-_]scm|hatch[-_]vcs|versioningit|versioneer|\bpbr\b|dunamai|poetry-dynamic-versioning"
    r"|setuptools-git-versioning|flit[-_]scm|use_scm_version|pdm-scm|incremental-vcs|vcs-versioning"
)


@dataclass(frozen=True)
class Project:
    """Declared facts; empty where nothing is declared."""

    name: str = ""
    installable: bool = False
    backend: str = ""
    requires_python: str = ""
    classifiers: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    test_requirements: tuple[str, ...] = ()
    """Requirements for the tests that no extra or group holds (tests_require, poetry's development groups)."""
    package_roots: tuple[str, ...] = ()
    vcs_version: bool = False


def read_project(files: Mapping[str, str]) -> Project:
    """Facts from the root's files (name to text); pyproject.toml wins over setup.cfg over setup.py."""
    sources = [_from_setup_py(files), _from_setup_cfg(files), _from_pyproject(files)]
    merged = Project()
    for source in sources:
        merged = replace(merged, **{key: value for key, value in source.items() if value})
    texts = "".join(files.get(name, "") for name in ("pyproject.toml", "setup.cfg", "setup.py"))
    return replace(merged, vcs_version=bool(_VCS_MARKS.search(texts)))


def load_toml(text: str) -> dict[str, Any]:
    """The document, empty when it is broken: the build will say so better."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def load_ini(text: str) -> configparser.ConfigParser:
    """The document, empty when it is broken."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return configparser.ConfigParser(interpolation=None)
    return parser


def table(document: Any, *keys: str) -> dict[str, Any]:
    """A nested table, empty when it or a part of the way is something else."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def texts(value: Any) -> tuple[str, ...]:
    """The strings of a list; nothing of anything else."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def lines(value: str | None) -> tuple[str, ...]:
    """Non-empty lines without comments."""
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in (value or "").splitlines())
    return tuple(line for line in stripped if line)


def _from_pyproject(files: Mapping[str, str]) -> dict[str, Any]:
    document = load_toml(files.get("pyproject.toml", ""))
    project, poetry = table(document, "project"), table(document, "tool", "poetry")
    build = table(document, "build-system")
    requires = project.get("requires-python") or poetry_specifier(table(poetry, "dependencies").get("python"))
    development = dict(table(poetry, "dev-dependencies"))
    for group in table(poetry, "group").values():
        development |= table(group, "dependencies")
    extras = {name: texts(value) for name, value in table(project, "optional-dependencies").items()}
    extras |= {name: texts(value) for name, value in table(poetry, "extras").items() if name not in extras}
    roots = _setuptools_roots(document)
    return {
        "name": _text(project.get("name")) or _text(poetry.get("name")),
        "installable": bool(build or project or poetry),
        "backend": _text(build.get("build-backend")),
        "requires_python": _text(requires),
        "classifiers": texts(project.get("classifiers")) or texts(poetry.get("classifiers")),
        "dependencies": texts(project.get("dependencies")) or poetry_requirements(table(poetry, "dependencies")),
        "extras": extras,
        "groups": tuple(table(document, "dependency-groups")),
        "test_requirements": poetry_requirements(development),
        "package_roots": roots,
    }


def _setuptools_roots(document: dict[str, Any]) -> tuple[str, ...]:
    tool = table(document, "tool", "setuptools")
    where = texts(table(tool, "packages", "find").get("where"))
    root = table(tool, "package-dir").get("")
    return where or ((root,) if isinstance(root, str) else ())


def _from_setup_cfg(files: Mapping[str, str]) -> dict[str, Any]:
    if "setup.cfg" not in files:
        return {}
    ini = load_ini(files["setup.cfg"])

    def get(section: str, option: str) -> str:
        return ini.get(section, option, fallback="") or ""

    extras = (
        {name: lines(value) for name, value in ini.items("options.extras_require")}
        if ini.has_section("options.extras_require")
        else {}
    )
    root = next(
        (line.split("=", 1)[1].strip() for line in lines(get("options", "package_dir")) if line.startswith("=")), ""
    )
    where = get("options.packages.find", "where").strip()
    return {
        "name": get("metadata", "name").strip(),
        "installable": ini.has_section("metadata") and "pyproject.toml" in files,
        "requires_python": get("options", "python_requires").strip(),
        "classifiers": lines(get("metadata", "classifiers") or get("metadata", "classifier")),
        "dependencies": lines(get("options", "install_requires")),
        "extras": extras,
        "test_requirements": lines(get("options", "tests_require")),
        "package_roots": tuple(dict.fromkeys(value for value in (where, root) if value)),
    }


def _from_setup_py(files: Mapping[str, str]) -> dict[str, Any]:
    """Literal arguments of the `setup()` call; names are followed one step, anything computed is left out."""
    if "setup.py" not in files:
        return {}
    facts: dict[str, Any] = {"installable": True, "backend": "setuptools.build_meta:__legacy__"}
    try:
        tree = ast.parse(files["setup.py"])
    except (SyntaxError, ValueError, RecursionError):
        return facts
    names = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_setup(node.func)]
    arguments = {item.arg: _literal(item.value, names) for call in calls for item in call.keywords if item.arg}
    extras, package_dir = arguments.get("extras_require"), arguments.get("package_dir")
    return facts | {
        "name": _text(arguments.get("name")),
        "requires_python": _text(arguments.get("python_requires")),
        "classifiers": _listed(arguments.get("classifiers")),
        "dependencies": _listed(arguments.get("install_requires")),
        "extras": {str(k): _listed(v) for k, v in extras.items()} if isinstance(extras, dict) else {},
        "test_requirements": _listed(arguments.get("tests_require")),
        "package_roots": (_text(package_dir.get("")),) if isinstance(package_dir, dict) and "" in package_dir else (),
    }


def _is_setup(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id == "setup") or (
        isinstance(function, ast.Attribute) and function.attr == "setup"
    )


def _literal(node: ast.expr, names: Mapping[str, ast.expr]) -> Any:
    if isinstance(node, ast.Name) and node.id in names:
        node = names[node.id]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _listed(value: Any) -> tuple[str, ...]:
    return lines(value) if isinstance(value, str) else texts(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def poetry_specifier(value: Any) -> str:
    """PEP 440 form of a poetry version constraint: `^3.8` to `>=3.8,<4`, `~3.8` to `~=3.8.0`."""
    if isinstance(value, dict):
        value = value.get("version")
    if not isinstance(value, str) or value.strip() in ("", "*"):
        return ""
    parts = []
    for part in value.split("||")[0].split(","):
        part = part.strip()
        if match := re.fullmatch(r"\^\s*(\d+)(.*)", part):
            parts.append(f">={match[1]}{match[2]},<{int(match[1]) + 1}")
        elif match := re.fullmatch(r"~\s*(\d+(?:\.\d+)?)(.*)", part):
            parts.append(f">={match[1]}{match[2]},=={match[1]}.*")
        elif re.fullmatch(r"\d[\w.]*", part):
            parts.append(f"=={part}" + (".*" if part.count(".") < 2 else ""))
        else:
            parts.append(part)
    return ",".join(parts)


def poetry_requirements(dependencies: Mapping[str, Any]) -> tuple[str, ...]:
    """PEP 508 requirements of a poetry dependency table; those from paths, Git or URLs are left out."""
    requirements = []
    for name, value in dependencies.items():
        if name == "python" or (isinstance(value, dict) and ("version" not in value or value.get("optional"))):
            continue
        if isinstance(value, str | dict):
            specifier = poetry_specifier(value)
            requirements.append(f"{name}{specifier}" if not specifier[:1].isdigit() else name)
    return tuple(requirements)
