"""Manifests checked without a cluster, by the same rules as the CRDs, in words for people.

`repoexpert validate` prints what `check_text` finds; `load_expert` is how every other command reads its FILE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from repoexpert.api.availability import unavailable
from repoexpert.api.expert import API_VERSION, GROUP, RepoExpert
from repoexpert.api.explanations import explain_all, suggestion
from repoexpert.api.klass import RepoExpertClass, with_class
from repoexpert.api.manifests import Document, Problem, read_documents
from repoexpert.errors import BadInput

MAX_BYTES = 1 << 20
"""Far more than a manifest needs, and less than the API server can store."""

Resource = RepoExpert | RepoExpertClass
KINDS: dict[str, type[Resource]] = {"RepoExpert": RepoExpert, "RepoExpertClass": RepoExpertClass}

METADATA_FIELDS = [
    "name", "namespace", "labels", "annotations", "finalizers", "generateName", "ownerReferences", "uid", "generation",
    "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink",
]  # fmt: skip


@dataclass
class Checked:
    """What a text holds."""

    objects: list[Resource] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Objects of other APIs ("v1 Secret"), which are not looked at."""

    @property
    def experts(self) -> list[RepoExpert]:
        """The RepoExperts among the objects."""
        return [found for found in self.objects if isinstance(found, RepoExpert)]


def check_text(text: str, source: str) -> Checked:
    """Check every document of a YAML stream; `source` names it in the messages."""
    checked = Checked()
    for document in read_documents(text, source):
        if not document.problems:
            _check_document(document, checked)
        checked.problems.extend(sorted(document.problems, key=lambda problem: problem.line))
    if not checked.problems and not checked.objects:
        why = f"it holds {', '.join(checked.others)}" if checked.others else "it is empty"
        checked.problems.append(Problem(source, 0, "", f"holds no {' or '.join(KINDS)}: {why}"))
    return checked


def _check_document(document: Document, checked: Checked) -> None:
    if not isinstance(document.value, dict):
        document.report((), "must be an object with apiVersion, kind, metadata and spec")
        return
    kind, version = document.value.get("kind"), document.value.get("apiVersion")
    if _is_foreign(kind, version):
        checked.others.append(f"{version} {kind}")
        return
    model = _model(document, kind, version)
    if model is None:
        return
    try:
        found = model.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        for path, message in explain_all(error, model):
            document.report(path, message)
        _check_metadata(document)
        return
    _check_metadata(document)
    if isinstance(found, RepoExpert):
        for path, message in unavailable(found):
            document.report(path, message)
    checked.objects.append(found)


def _is_foreign(kind: object, version: object) -> bool:
    """Whether this is a well-formed object of another API, such as the Secret beside an expert."""
    if not isinstance(kind, str) or not isinstance(version, str) or not kind or not version:
        return False
    return version.split("/")[0] != GROUP and kind not in KINDS


def _model(document: Document, kind: object, version: object) -> type[Resource] | None:
    if version is None or kind is None:
        missing = "apiVersion" if version is None else "kind"
        value = API_VERSION if version is None else " or ".join(KINDS)
        document.report((missing,), f"is required: {value}")
        return None
    if version != API_VERSION:
        document.report(("apiVersion",), f'must be {API_VERSION}, not "{version}"')
        return None
    model = KINDS.get(str(kind))
    if model is None:
        near = suggestion(str(kind), list(KINDS))
        document.report(("kind",), f'must be {" or ".join(KINDS)}, not "{kind}"' + (f"; {near}" if near else ""))
    return model


def _check_metadata(document: Document) -> None:
    metadata = document.value.get("metadata")
    for name in metadata if isinstance(metadata, dict) else ():
        if name not in METADATA_FIELDS:
            near = suggestion(name, METADATA_FIELDS)
            document.report(("metadata", name), "unknown field" + (f"; {near}" if near else ""))


def read_text(path: Path) -> str:
    """A manifest's text. Raises BadInput when the file is missing, unreadable, no text or too large."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise BadInput(f"{path}: is a folder; name the YAML file in it") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    return decode(data, str(path))


def decode(data: bytes, source: str) -> str:
    """The text of bytes read from `source`. Raises BadInput when it is no UTF-8 or too large."""
    if len(data) > MAX_BYTES:
        raise BadInput(f"{source}: is larger than a manifest may be ({MAX_BYTES >> 20} MiB)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: is not UTF-8 text") from error


def load_expert(path: Path | str) -> RepoExpert:
    """The one RepoExpert in a file, with every default filled in.

    The file may hold a RepoExpertClass, whose teacher is used when the expert names none, and objects of other APIs.
    Raises BadInput with every problem, one a line, or when the file holds several experts.
    """
    checked = check_text(read_text(Path(path)), str(path))
    if checked.problems:
        raise BadInput("\n".join(map(str, checked.problems)))
    if len(checked.experts) != 1:
        names = ", ".join(expert.metadata.name for expert in checked.experts)
        why = f"holds {len(checked.experts)} RepoExperts ({names})" if names else "holds no RepoExpert"
        raise BadInput(f"{path}: {why}; give a file with exactly one")
    expert = checked.experts[0]
    klass = _class_of(expert, checked.objects)
    return with_class(expert, klass) if klass else expert


def _class_of(expert: RepoExpert, objects: Sequence[Resource]) -> RepoExpertClass | None:
    """The class beside an expert, chosen as in a cluster: the one it names, else the one marked as default."""
    name = expert.spec.class_name
    classes = [found for found in objects if isinstance(found, RepoExpertClass)]
    fitting = [found for found in classes if (found.metadata.name == name if name else found.is_default)]
    return fitting[0] if fitting else None
