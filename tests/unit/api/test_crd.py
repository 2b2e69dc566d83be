"""The generated CRDs are those in `crds/`, and keep the API server's rules for structural schemas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from repoexpert.api.crd import custom_resource_definitions, to_yaml
from repoexpert.api.expert import RepoExpert
from repoexpert.api.klass import RepoExpertClass
from repoexpert.api.schemas import models_below

FOLDER = Path(__file__).parents[3] / "crds"
DEFINITIONS = custom_resource_definitions()
EXPERT, CLASS = "repoexpert.dev_repoexperts.yaml", "repoexpert.dev_repoexpertclasses.yaml"


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DEFINITIONS[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below `spec` and `status`, with its path."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


EVERY_NODE = [
    (f"{name}{path}", node)
    for name in DEFINITIONS
    for part in ("spec", "status")
    if part in schema(name)["properties"]
    for path, node in nodes(schema(name)["properties"][part], f".{part}")
]


def test_the_files_in_crds_are_up_to_date() -> None:
    generated = {name: to_yaml(document) for name, document in DEFINITIONS.items()}
    stored = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert stored == generated, "run `repoexpert crd --output-dir crds`"


def test_the_files_read_back_as_the_definitions() -> None:
    assert {path.name: yaml.safe_load(path.read_text()) for path in FOLDER.iterdir()} == DEFINITIONS


def test_names_scope_and_subresources() -> None:
    expert, klass = DEFINITIONS[EXPERT]["spec"], DEFINITIONS[CLASS]["spec"]
    assert (expert["scope"], expert["names"]["shortNames"], expert["names"]["categories"]) == (
        "Namespaced",
        ["rex"],
        ["ml"],
    )
    assert (klass["scope"], klass["names"]["shortNames"]) == ("Cluster", ["rexc"])
    assert expert["versions"][0]["subresources"] == {"status": {}}
    assert [version["name"] for version in expert["versions"]] == ["v1alpha1"]


def test_the_columns_of_kubectl_get() -> None:
    columns = DEFINITIONS[EXPERT]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        "Phase",
        "Ready",
        "Reason",
        "Progress",
        "Score",
        "Gain",
        "Age",
    ]
    assert [column["name"] for column in columns if column.get("priority")] == ["Class", "Model", "Endpoint"]


ALLOWED = {
    "description", "type", "required", "properties", "items", "additionalProperties", "format", "pattern", "enum",
    "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties", "default",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", "x-kubernetes-validations",
}  # fmt: skip


def faults(path: str, node: dict[str, Any]) -> Iterator[str]:
    """What keeps one schema from being structural, bounded and described."""
    kind = node.get("type")
    unknown = set(node) - ALLOWED
    if unknown:
        yield f"{path}: {sorted(unknown)}"
    if kind not in ("object", "array", "string", "integer", "boolean") and not node.get("x-kubernetes-int-or-string"):
        yield f"{path}: type {kind}"
    if kind == "string" and not node.keys() & {"maxLength", "enum"}:
        yield f"{path}: a string without a length"
    if kind == "array" and not node.keys() >= {"maxItems", "x-kubernetes-list-type", "items"}:
        yield f"{path}: a list without a length or type"
    if kind == "object" and not ("properties" in node or node.keys() >= {"additionalProperties", "maxProperties"}):
        yield f"{path}: a map without a size"
    if kind == "integer" and node.get("format") != "int64":
        yield f"{path}: an integer without a format"
    if not path.endswith(("[]", "{}")) and not node.get("description", "").endswith((".", ".)")):
        yield f"{path}: not described for kubectl explain"


def test_every_schema_is_structural_bounded_and_described() -> None:
    assert len(EVERY_NODE) > 200
    assert [fault for path, node in EVERY_NODE for fault in faults(path, node)] == []


def test_every_rule_of_the_models_is_in_the_crds() -> None:
    written = {rule["rule"] for name in DEFINITIONS for _, node in nodes(schema(name)) for rule in rules_of(node)}
    models = [model for root in (RepoExpert, RepoExpertClass) for model in models_below(root)]
    assert {rule.cel for model in models for rule in model.validations} <= written
    assert {rule.cel for model in models for rule in model.transitions} <= written


def rules_of(node: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.get("x-kubernetes-validations", [])
    return found


def test_a_rule_blames_a_field_that_exists() -> None:
    for name in DEFINITIONS:
        for path, node in nodes(schema(name)):
            for rule in rules_of(node):
                field: Any = node
                for part in rule.get("fieldPath", "").split(".")[1:]:
                    field = field["properties"].get(part)
                    assert field is not None, f"{path}: {rule}"


def test_units_and_teacher_have_no_default_so_that_their_absence_is_seen() -> None:
    experience = schema(EXPERT)["properties"]["spec"]["properties"]["experience"]
    assert "default" not in experience["properties"]["units"]
    assert "default" not in experience["properties"]["teacher"]
    assert set(experience["default"]) == {"agent", "rollout", "budget"}


def test_nothing_is_filled_into_a_status() -> None:
    assert [path for path, node in EVERY_NODE if ".status" in path and "default" in node] == []


def test_what_is_not_available_yet_is_not_a_rule_of_the_crd() -> None:
    assert "not available" not in to_yaml(DEFINITIONS[EXPERT])


def test_a_definition_stays_small_enough_for_kubectl_apply() -> None:
    for document in DEFINITIONS.values():
        assert len(yaml.safe_dump(document)) < 200_000  # the annotation of `kubectl apply` holds 262,144 bytes
