"""The restricted part of Kubernetes' pod types that a RepoExpertClass may set.

A full PodTemplate would make the CRD too large to `kubectl apply` and let a class break what isolates a sandbox;
these are the parts a platform team needs. Field names and meanings are Kubernetes' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from repoexpert.api.base import ApiModel, Rule
from repoexpert.api.references import SecretKeyRef, SecretRef
from repoexpert.api.scalars import ATOMIC, Count, Flag, ObjectName, Text, list_map

LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

LabelKey = Annotated[str, Text(317, LABEL_KEY, 'is not a label key such as "example.com/team"')]
LabelValue = Annotated[
    str, Text(63, LABEL_VALUE, "is not a label value: letters, digits, '-', '_' and '.'", min_length=0)
]


@dataclass(frozen=True)
class QuantityText(Text):
    """A Kubernetes quantity; a whole number may be written without quotes, as everywhere in Kubernetes."""

    def parse(self, value: object) -> str:
        """As Text does; 4 becomes "4"."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return super().parse(str(value) if whole else value)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"x-kubernetes-int-or-string": True, "pattern": self.pattern, "maxLength": self.max_length}


Quantity = Annotated[str, QuantityText(32, QUANTITY, 'is not a quantity such as "500m", "4" or "16Gi"')]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]
VolumeName = Annotated[str, Text(63, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "is not a DNS label")]
FilePath = Annotated[str, Text(1024, r"^/[^:]*$", "is not an absolute path")]


class Resources(ApiModel):
    """Requests and limits of a container, by resource name (cpu, memory, nvidia.com/gpu, ...)."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="What the scheduler keeps free for the container."
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="What the container may use at most."
    )


class Toleration(ApiModel):
    """A taint that the pods accept, as in Kubernetes."""

    key: LabelKey | None = Field(default=None, description="Taint key; absent with operator Exists: every taint.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How key and value are compared.")
    value: LabelValue | None = Field(default=None, description="Taint value, for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; absent: every effect."
    )
    toleration_seconds: Annotated[Count, Field(ge=0, le=31_536_000)] | None = Field(
        default=None, description="With NoExecute: seconds the pod stays on a tainted node."
    )


class NodeRequirement(ApiModel):
    """A condition on node labels, as in Kubernetes' node affinity."""

    key: LabelKey = Field(description="Node label, for example nvidia.com/gpu.product.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        default="In", description="How the node's label is compared with values."
    )
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Values to compare with; none for Exists and DoesNotExist."
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.operator in ['Exists', 'DoesNotExist']) == (!has(self.values) || self.values.size() == 0)",
            message="must hold a value, except with the operators Exists and DoesNotExist, which take none",
            holds=lambda it: (it.operator in ("Exists", "DoesNotExist")) == (not it.values),
            field="values",
        ),
    )


class EnvVar(ApiModel):
    """An environment variable: a plain value, or a Secret's key in the namespace of the pod."""

    name: Annotated[str, Text(253, r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", "is not a variable's name")] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, Text(8192, min_length=0)] | None = Field(default=None, description="Its value.")
    secret_key_ref: SecretKeyRef | None = Field(default=None, description="Secret key that holds its value.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.value) != has(self.secretKeyRef)",
            message="needs exactly one of value and secretKeyRef",
            holds=lambda it: (it.value is None) != (it.secret_key_ref is None),
        ),
    )


class ConfigMapVolume(ApiModel):
    """Files from a ConfigMap."""

    name: ObjectName = Field(description="Name of the ConfigMap.")


class SecretVolume(ApiModel):
    """Files from a Secret."""

    secret_name: ObjectName = Field(description="Name of the Secret.")


class ClaimVolume(ApiModel):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName = Field(description="Name of the claim.")
    read_only: Flag = Field(default=False, description="true mounts it read-only.")


class EmptyDirVolume(ApiModel):
    """Scratch space that lives as long as the pod."""

    medium: Literal["", "Memory"] = Field(default="", description="Memory for a RAM disk.")
    size_limit: Quantity | None = Field(default=None, description="Most it may hold.")


class HostPathVolume(ApiModel):
    """A folder of the node. Refused by clusters that enforce the baseline or restricted pod security standard."""

    path: FilePath = Field(description="Folder on the node.")


class Volume(ApiModel):
    """A volume for pods. Exactly one source."""

    name: VolumeName = Field(description="Name that mounts refer to.")
    config_map: ConfigMapVolume | None = Field(default=None, description="Files from a ConfigMap.")
    secret: SecretVolume | None = Field(default=None, description="Files from a Secret.")
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="A PersistentVolumeClaim.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="Scratch space of the pod.")
    host_path: HostPathVolume | None = Field(default=None, description="A folder of the node.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="[has(self.configMap), has(self.secret), has(self.persistentVolumeClaim), has(self.emptyDir), "
            "has(self.hostPath)].filter(given, given).size() == 1",
            message="needs exactly one of configMap, secret, persistentVolumeClaim, emptyDir and hostPath",
            holds=lambda it: [
                it.config_map, it.secret, it.persistent_volume_claim, it.empty_dir, it.host_path
            ].count(None) == 4,
        ),
    )  # fmt: skip


class VolumeMount(ApiModel):
    """Where a volume appears in the containers."""

    name: VolumeName = Field(description="Name of the volume.")
    mount_path: FilePath = Field(description="Folder in the container.")
    sub_path: Annotated[str, Text(1024, min_length=0)] = Field(default="", description="Part of the volume to mount.")
    read_only: Flag = Field(default=False, description="true mounts it read-only.")


class SecurityContext(ApiModel):
    """The part of the pod's security context that a class may choose; the rest is fixed at the restricted standard."""

    run_as_user: Annotated[Count, Field(ge=1, le=2_147_483_647)] | None = Field(default=None, description="User id.")
    run_as_group: Annotated[Count, Field(ge=1, le=2_147_483_647)] | None = Field(default=None, description="Group id.")
    fs_group: Annotated[Count, Field(ge=1, le=2_147_483_647)] | None = Field(
        default=None, description="Group that owns mounted volumes."
    )
    supplemental_groups: Annotated[
        tuple[Annotated[Count, Field(ge=1, le=2_147_483_647)], ...], Field(max_length=32, json_schema_extra=ATOMIC)
    ] = Field(default=(), description="Further groups of the process.")


class PodOverrides(ApiModel):
    """Additions to every pod that RepoExpert makes for the class. Restricted: nothing here can open a sandbox."""

    labels: Labels = Field(default_factory=dict, description="Labels added to pods.")
    annotations: Annotated[dict[str, Annotated[str, Text(4096, min_length=0)]], Field(max_length=64)] = Field(
        default_factory=dict, description="Annotations added to pods."
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = Field(
        default=(), description="Environment variables added to stage and server containers; never to sandboxes."
    )
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = Field(
        default=(), description="Volumes added to stage and server pods; never to sandboxes."
    )
    volume_mounts: Annotated[tuple[VolumeMount, ...], Field(max_length=32, json_schema_extra=list_map("mountPath"))] = (
        Field(default=(), description="Where the added volumes appear.")
    )
    image_pull_secrets: Annotated[tuple[SecretRef, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = (
        Field(default=(), description="Secrets to pull images with.")
    )
    security_context: SecurityContext = Field(
        default_factory=SecurityContext, description="User and groups of the pods."
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && "
            "self.volumes.exists(v, v.name == m.name))",
            message="mounts a volume that podOverrides.volumes does not list",
            holds=lambda it: {mount.name for mount in it.volume_mounts} <= {volume.name for volume in it.volumes},
            field="volumeMounts",
        ),
    )
