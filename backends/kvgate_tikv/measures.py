"""The figures of a TiKV store that /metrics shows."""

from collections.abc import Sequence

from kvgate.backend import Measure
from kvgate_tikv.groups import WriteGroups
from kvgate_tikv.link import Link
from kvgate_tikv.reads import ReadBatches
from kvgate_tikv.upkeep import Upkeep


def measures(link: Link, groups: WriteGroups, reads: ReadBatches, upkeep: Upkeep) -> Sequence[Measure]:
    """Cheap. All of it counts what this process has done."""
    counts = groups.counts
    return (
        Measure("tikv_connects", "Connections to the cluster that were made.", link.connects),
        Measure("tikv_read_batches", "Batches of reads, each a few calls of the store.", reads.batches),
        Measure("tikv_read_commands", "Commands in those batches.", reads.commands),
        Measure("tikv_read_retries", "Batches of reads that were tried again.", reads.retries),
        Measure("tikv_write_groups", "Groups of writes that were committed, each a transaction.", counts.groups),
        Measure("tikv_write_commands", "Commands in those groups.", counts.commands),
        Measure("tikv_write_conflicts", "Groups that met another writer.", counts.conflicts),
        Measure("tikv_write_retries", "Groups that were tried again, conflicts among them.", counts.retries),
        Measure("tikv_commits_unknown", "Commits whose outcome had to be looked for.", counts.unknown),
        Measure("tikv_commits_in_doubt", "Commits whose outcome stayed unknown: clients were told INDOUBT.", counts.in_doubt),
        Measure(
            "tikv_write_seconds",
            "Time of a group's transaction in the store, from its begin to its end.",
            groups.times.vector(),
            "histogram",
        ),
        Measure("tikv_swept_records", "Records of expired and deleted keys that were removed.", upkeep.swept),
        Measure("tikv_gc_runs", "Times that this gate moved the cluster's safe point for garbage.", upkeep.gc_runs),
    )
