"""Make and mend topics: `topics apply`, tenant topics, and what `doctor` compares.

Shell. What may never change (partition counts: P and n are fixed for life) is refused, what may
drift (topic settings) is set back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from streams.errors import ConfigurationError, InputError
from streams.installation import begin_log, commit_first_offsets
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicSpec, is_tenant_id, system_topics, tenant_topic
from streams.topics_client import TopicChange, TopicsAdmin, TopicState

__all__ = [
    "TopicChange",
    "TopicState",
    "apply_topics",
    "create_tenant_topic",
    "drift",
    "ensure_topics",
    "list_topics",
    "replication_for",
]

BROKERS_FOR_REPLICATION = 3


def replication_for(brokers: int) -> int:
    """Replication factor of our topics in a cluster of so many brokers."""
    return BROKERS_FOR_REPLICATION if brokers >= BROKERS_FOR_REPLICATION else 1


def with_replication(spec: TopicSpec, replication: int) -> TopicSpec:
    """The spec with the settings that make an acknowledged record stay."""
    in_sync = "2" if replication >= BROKERS_FOR_REPLICATION else "1"
    safety = {"min.insync.replicas": in_sync, "unclean.leader.election.enable": "false"}
    return replace(spec, config={**spec.config, **safety})


def drift(spec: TopicSpec, state: TopicState) -> dict[str, str]:
    """Settings of the topic that differ from the spec, with the value wanted."""
    wanted = with_replication(spec, state.replication).config
    return {key: value for key, value in wanted.items() if state.config.get(key) != value}


def refuse_other_partitions(spec: TopicSpec, state: TopicState) -> None:
    """Raise ConfigurationError when the topic has another number of partitions than wanted.

    A key's partition depends on their number: more of them would put events of one package on
    two partitions, and tenants would see them out of order.
    """
    if state.partitions != spec.partitions:
        raise ConfigurationError(
            f"{spec.name} has {state.partitions} partitions, {spec.partitions} are wanted;"
            " the number is fixed for life",
            hint=f"set MIDGATE_PARTITIONS={state.partitions}, or use another prefix",
        )


def ensure_topics(
    admin: TopicsAdmin, specs: Sequence[TopicSpec], *, dry_run: bool
) -> list[TopicChange]:
    """Create what is missing, set drifted settings back, refuse other partition counts."""
    replication = replication_for(len(admin.cluster().brokers))
    states = admin.states([spec.name for spec in specs])
    for spec in specs:  # nothing is made before everything that is there has been accepted
        if spec.name in states:
            refuse_other_partitions(spec, states[spec.name])
    missing = [with_replication(spec, replication) for spec in specs if spec.name not in states]
    made: set[str] = set()
    if missing and not dry_run:
        made = admin.create(missing, replication)
        states = admin.states([spec.name for spec in specs])
    return [
        change
        for spec in specs
        for change in _ensure_one(
            admin, spec, states.get(spec.name), replication, spec.name in made, dry_run
        )
    ]


def _ensure_one(
    admin: TopicsAdmin,
    spec: TopicSpec,
    state: TopicState | None,
    replication: int,
    made: bool,
    dry_run: bool,
) -> list[TopicChange]:
    if state is None or made:
        detail = f"{spec.partitions} partitions, replication {replication}"
        return [TopicChange(spec.name, "create", detail)]
    refuse_other_partitions(spec, state)
    changes = []
    different = drift(spec, state)
    if different:
        if not dry_run:
            admin.configure(spec.name, different)
        detail = ", ".join(
            f"{key}: {state.config.get(key)} -> {value}" for key, value in different.items()
        )
        changes.append(TopicChange(spec.name, "configure", detail))
    if state.replication < replication:
        detail = f"replication {state.replication}, wanted {replication}: reassign its partitions"
        changes.append(TopicChange(spec.name, "warn", detail))
    return changes or [TopicChange(spec.name, "none", f"{state.partitions} partitions")]


async def apply_topics(
    kafka: KafkaSettings, layout: LayoutSettings, *, dry_run: bool = False
) -> list[TopicChange]:
    """Make the installation: topics, log id, layout, a first offset for every raw partition.

    Running it again changes nothing; two at the same time both succeed with the same result.
    Raises ConfigurationError for a P or a number of lanes other than the one in force, and
    BrokerUnreachableError or NotAuthorizedError.
    """
    if layout.partitions % layout.lanes:
        raise ConfigurationError(
            f"{layout.lanes} lanes do not divide {layout.partitions} partitions",
            hint="set MIDGATE_LANES to a divisor of MIDGATE_PARTITIONS",
        )
    admin = TopicsAdmin(kafka)
    specs = system_topics(layout.topics, layout.partitions)
    changes = await asyncio.to_thread(ensure_topics, admin, specs, dry_run=dry_run)
    new = any(c.name == layout.topics.authorization and c.action == "create" for c in changes)
    fresh = dry_run and new
    changes += await begin_log(kafka, layout, dry_run=dry_run, absent=fresh)
    absent = dry_run and any(c.name == layout.topics.raw and c.action == "create" for c in changes)
    changes += await commit_first_offsets(kafka, layout, dry_run=dry_run, absent=absent)
    return changes


async def create_tenant_topic(
    kafka: KafkaSettings, layout: LayoutSettings, tenant_id: str, partitions: int
) -> TopicChange:
    """Make the topic of a tenant, or accept the one that is there.

    Raises InputError when the id is none or `partitions` does not divide P (raw's real number of
    partitions), ConfigurationError when the topic has another number of partitions.
    """
    if not is_tenant_id(tenant_id):
        raise InputError(
            f"{tenant_id!r} is no tenant id",
            hint="small letters and digits, single dashes between them, at most 100 characters",
        )
    admin = TopicsAdmin(kafka)
    raw = layout.topics.raw

    def ensure() -> TopicChange:
        topics = admin.cluster().topics
        if raw not in topics:
            raise ConfigurationError(f"there is no topic {raw}", hint="run `midgate topics apply`")
        total = len(topics[raw].partitions)
        if partitions < 1 or total % partitions:
            raise InputError(
                f"{partitions} partitions do not divide the {total} of {raw}",
                hint="events of a package keep their order only if they do",
            )
        spec = tenant_topic(layout.topics, tenant_id, partitions)
        return ensure_topics(admin, [spec], dry_run=False)[0]

    return await asyncio.to_thread(ensure)


async def list_topics(kafka: KafkaSettings, layout: LayoutSettings) -> list[TopicState]:
    """Every topic under the prefix, in order of name."""
    admin = TopicsAdmin(kafka)
    start = f"{layout.prefix}."

    def read() -> list[TopicState]:
        names = [name for name in admin.cluster().topics if name.startswith(start)]
        return sorted(admin.states(names).values(), key=lambda state: state.name)

    return await asyncio.to_thread(read)
