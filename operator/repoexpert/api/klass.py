"""The `RepoExpertClass` resource: what the platform team decides for every expert of the class (design.md, section 3)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from repoexpert.api.base import ApiModel, Rule
from repoexpert.api.experience import Teacher
from repoexpert.api.expert import API_VERSION, Metadata, RepoExpert
from repoexpert.api.podtypes import EnvVar, Labels, NodeRequirement, PodOverrides, Quantity, Resources, Toleration
from repoexpert.api.references import SecretRef
from repoexpert.api.scalars import ATOMIC, Count, DecimalText, ObjectName, Text, list_map

DEFAULT_CLASS_ANNOTATION = "repoexpert.dev/is-default-class"
"""On one class, with the value "true": experts without className use it."""

Image = Annotated[str, Text(512, r"^[a-z0-9][^\s]*$", "is not an image reference")]
Tolerations = Annotated[tuple[Toleration, ...], Field(max_length=32, json_schema_extra=ATOMIC)]


class Images(ApiModel):
    """One image per role. Absent: the operator's own version of it."""

    core: Image | None = Field(default=None, description="Environment, tasks and dataset stages.")
    experience: Image | None = Field(default=None, description="Rollout stage: agent and teacher clients.")
    sandbox: Image | None = Field(default=None, description="Sandboxes: interpreters and build tools, no secrets.")
    train: Image | None = Field(default=None, description="Training stage: ms-swift and CUDA.")
    serve: Image | None = Field(default=None, description="Evaluation stage and servers: vLLM.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When images are pulled."
    )


class VolumeStore(ApiModel):
    """Artifacts on a PersistentVolumeClaim."""

    storage_class_name: ObjectName | None = Field(
        default=None,
        description="StorageClass; absent: the cluster's default. Must offer ReadWriteMany for several nodes.",
    )
    size: Quantity = Field(default="200Gi", description="Size of the claim.")
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = Field(
        default="ReadWriteMany", description="ReadWriteOnce keeps every pod of an expert on one node."
    )


class BucketStore(ApiModel):
    """Artifacts in an S3-compatible bucket."""

    bucket: Annotated[str, Text(63, r"^[a-z0-9][a-z0-9.-]+[a-z0-9]$", "is not a bucket's name", min_length=3)] = Field(
        description="Name of the bucket."
    )
    prefix: Annotated[str, Text(512, min_length=0)] = Field(default="", description="Folder in the bucket.")
    endpoint: Annotated[str, Text(2048, r"^https?://[^\s@]+$", "is not a URL")] | None = Field(
        default=None, description="URL of the service; absent: AWS."
    )
    region: Annotated[str, Text(64)] | None = Field(default=None, description="Region, where the service wants one.")
    secret_ref: SecretRef | None = Field(
        default=None,
        description="Secret with access-key-id and secret-access-key in the operator's namespace. Absent: the pods' identity.",
    )


class Storage(ApiModel):
    """Where artifacts are kept. At most one of volume and s3; a volume with defaults when neither is given."""

    volume: VolumeStore | None = Field(default=None, description="Artifacts on a PersistentVolumeClaim.")
    s3: BucketStore | None = Field(default=None, description="Artifacts in an S3-compatible bucket.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(has(self.volume) && has(self.s3))",
            message="takes volume or s3, not both",
            holds=lambda it: it.volume is None or it.s3 is None,
        ),
    )


class SandboxPolicy(ApiModel):
    """Where untrusted code runs."""

    runtime_class_name: ObjectName | None = Field(
        default=None,
        description="RuntimeClass of sandbox pods, for example gvisor. Absent: the cluster's default runtime.",
    )
    resources: Resources = Field(
        default_factory=lambda: Resources(
            requests={"cpu": "500m", "memory": "1Gi"}, limits={"cpu": "2", "memory": "4Gi", "ephemeral-storage": "8Gi"}
        ),
        description="Requests and limits of one sandbox.",
    )
    warm_pool_size: Annotated[Count, Field(ge=0, le=10_000)] = Field(
        default=0, description="Sandboxes kept ready for each running rollout. 0: made when needed."
    )
    network: Literal["none", "packages"] = Field(
        default="packages",
        description="packages: the environment stage reaches package registries, sandboxes reach nothing. "
        "none: the environment stage has no network either.",
    )
    node_selector: Labels = Field(default_factory=dict, description="Node labels that sandboxes need.")
    tolerations: Tolerations = Field(default=(), description="Taints that sandboxes accept.")
    pod_security: Literal["baseline", "restricted"] = Field(
        default="restricted", description="Pod security standard that sandboxes are made to pass."
    )


class TrainingPolicy(ApiModel):
    """Where and how training runs."""

    max_gpus_per_node: Annotated[Count, Field(ge=0, le=64)] = Field(default=8, description="Most spec.training.gpus.")
    max_nodes: Annotated[Count, Field(ge=1, le=64)] = Field(default=1, description="Most spec.training.nodes.")
    gpu_resource: Annotated[str, Text(317)] = Field(
        default="nvidia.com/gpu", description="Resource name that a GPU is requested by."
    )
    accelerator: Annotated[tuple[NodeRequirement, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Node labels that training and serving need, for example nvidia.com/gpu.product."
    )
    resources: Resources = Field(default_factory=Resources, description="CPU and memory of one training pod.")
    tolerations: Tolerations = Field(default=(), description="Taints that training accepts.")
    queue_name: ObjectName | None = Field(default=None, description="Kueue LocalQueue for training Jobs.")
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of training pods.")
    nccl_env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = Field(
        default=(), description="NCCL settings of the fabric, for example NCCL_SOCKET_IFNAME."
    )


class Price(ApiModel):
    """What a model costs per million tokens."""

    model: Annotated[str, Text(253)] = Field(description="Model name as the provider knows it.")
    input: Annotated[Decimal, DecimalText(at_least="0")] = Field(description="Per million input tokens, in quotes.")
    cached_input: Annotated[Decimal, DecimalText(at_least="0")] | None = Field(
        default=None,
        description="Per million input tokens read from the provider's cache, in quotes. Absent: as input.",
    )
    output: Annotated[Decimal, DecimalText(at_least="0")] = Field(description="Per million output tokens, in quotes.")


class RateLimits(ApiModel):
    """What the teacher's account allows, over all experts of the class."""

    requests_per_minute: Annotated[Count, Field(ge=1, le=10_000_000)] | None = Field(
        default=None, description="Requests per minute. Absent: no limit of ours."
    )
    tokens_per_minute: Annotated[Count, Field(ge=1, le=2_000_000_000)] | None = Field(
        default=None, description="Tokens per minute, input and output. Absent: no limit of ours."
    )


class TeacherPolicy(Teacher):
    """The teacher of experts that name none, and what teachers cost."""

    rate_limits: RateLimits = Field(default_factory=RateLimits, description="What the teacher's account allows.")
    prices: Annotated[tuple[Price, ...], Field(max_length=64, json_schema_extra=list_map("model"))] = Field(
        default=(), description="Price table, US dollars; models that are not listed use the built-in table."
    )


class Autoscaling(ApiModel):
    """Bounds of the number of servers. Absent from a class: spec.serving.replicas holds."""

    min_replicas: Annotated[Count, Field(ge=0, le=1000)] = Field(default=1, description="Fewest servers.")
    max_replicas: Annotated[Count, Field(ge=1, le=1000)] = Field(description="Most servers.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.minReplicas <= self.maxReplicas",
            message="must not be above maxReplicas",
            holds=lambda it: it.min_replicas <= it.max_replicas,
            field="minReplicas",
        ),
    )


class GatewayRef(ApiModel):
    """A Gateway (gateway.networking.k8s.io) that offers the endpoint outside the cluster."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: ObjectName | None = Field(default=None, description="Its namespace; absent: the expert's.")
    section_name: ObjectName | None = Field(default=None, description="Listener of the Gateway; absent: any.")


class ServingPolicy(ApiModel):
    """Where and how models are served."""

    resources: Resources = Field(
        default_factory=lambda: Resources(limits={"nvidia.com/gpu": "1"}), description="Resources of one server."
    )
    tolerations: Tolerations = Field(default=(), description="Taints that servers accept.")
    autoscaling: Autoscaling | None = Field(default=None, description="Bounds of the number of servers.")
    strategy: Literal["BlueGreen", "Recreate"] = Field(
        default="BlueGreen",
        description="BlueGreen: the new revision starts beside the old one. Recreate: the old one stops first, "
        "where GPUs are too few for both.",
    )
    gateway_ref: GatewayRef | None = Field(
        default=None, description="Gateway for an HTTPRoute. Absent: in the cluster only."
    )


class ClassLimits(ApiModel):
    """What one expert of the class may use."""

    concurrent_sandboxes: Annotated[Count, Field(ge=1, le=100_000)] = Field(
        default=256, description="Most sandboxes of one expert at once, whatever its rollout.concurrency."
    )
    max_cost_per_expert: Annotated[Decimal, DecimalText(at_least="0")] | None = Field(
        default=None,
        description="Most an expert's teacher may cost, US dollars in quotes, whatever its budget. Absent: no limit.",
    )


class RepoExpertClassSpec(ApiModel):
    """What the platform team decides."""

    images: Images = Field(default_factory=Images, description="One image per role.")
    storage: Storage = Field(default_factory=Storage, description="Where artifacts are kept.")
    sandbox: SandboxPolicy = Field(default_factory=SandboxPolicy, description="Where untrusted code runs.")
    training: TrainingPolicy = Field(default_factory=TrainingPolicy, description="Where and how training runs.")
    teacher: TeacherPolicy | None = Field(
        default=None, description="The teacher of experts that name none, and what teachers cost."
    )
    serving: ServingPolicy = Field(default_factory=ServingPolicy, description="Where and how models are served.")
    limits: ClassLimits = Field(default_factory=ClassLimits, description="What one expert of the class may use.")
    pod_overrides: PodOverrides = Field(
        default_factory=PodOverrides, description="Additions to every pod that RepoExpert makes for the class."
    )


class RepoExpertClass(ApiModel):
    """A kind of place where experts are made: images, storage, isolation, GPUs, teacher, limits."""

    api_version: Literal["repoexpert.dev/v1alpha1"] = API_VERSION
    kind: Literal["RepoExpertClass"] = "RepoExpertClass"
    metadata: Metadata
    spec: RepoExpertClassSpec = Field(
        default_factory=RepoExpertClassSpec, description="What the platform team decides."
    )

    @property
    def is_default(self) -> bool:
        """Whether experts without className use this class."""
        return self.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true"


def with_class(expert: RepoExpert, klass: RepoExpertClass) -> RepoExpert:
    """The expert with what it leaves to its class: the teacher, when it names none.

    Apply before fingerprints are made, so that a class's new teacher is seen.
    """
    experience = expert.spec.experience
    if "teacher" in experience.model_fields_set or klass.spec.teacher is None:
        return expert
    offered = klass.spec.teacher
    teacher = Teacher(
        provider=offered.provider,
        model=offered.model,
        base_url=offered.base_url,
        api_key_secret_ref=offered.api_key_secret_ref,
    )
    spec = expert.spec.model_copy(update={"experience": experience.model_copy(update={"teacher": teacher})})
    return expert.model_copy(update={"spec": spec})
