"""An assessment for machines; docs/assess.md describes each member."""

from typing import Any, Final

import attrs

from kvgate.assess.assessment import Assessment
from kvgate.assess.prefixes import Figures, Prefix, printable
from kvgate.assess.watch import Watched

FORMAT: Final = 1
"""Grows when a member changes its meaning or goes away; new ones may come without."""


def as_json(found: Assessment, *, show_keys: bool) -> dict[str, Any]:
    """Values that JSON has."""
    server, question = found.server, found.question
    return {
        "format": FORMAT,
        "good": not found.problems,
        "problems": found.problems,
        "url": question.endpoint.url,
        "backends": [store.type for store in found.stores],
        "server": {
            "kind": server.kind,
            "version": server.version,
            "role": server.role,
            "cluster": server.cluster,
            "memory_bytes": server.memory,
            "evicts": server.evicts,
            "tracking_clients": server.tracking,
            "databases": {str(number): keys for number, keys in server.databases.items()},
            "modules": list(server.modules),
        },
        "samples": [
            {
                "database": sample.database,
                "size": sample.size,
                "keys": len(sample.keys),
                "whole": sample.whole,
                "fair": sample.fair,
                "stopped": sample.stopped,
            }
            for sample in found.samples
        ],
        "prefixes": [
            {
                **_prefix(prefix, show_keys=show_keys),
                "verdicts": {one.type: {"works": one.works, "reasons": list(one.reasons)} for one in verdicts},
            }
            for prefix, verdicts in found.prefixes
        ],
        "commands": None
        if found.uses is None
        else [
            {"name": use.name, "calls": use.calls, "status": use.status, "lacking": list(use.lacking), "note": use.note}
            for use in found.uses
        ],
        "monitor": None if found.watched is None else _watched(found.watched),
        "unread": found.unread,
        "private_keys": found.private_keys,
        "notes": list(found.notes),
        "configuration": found.proposal,
        "asked": found.commands,
    }


def _figures(found: Figures | None) -> dict[str, int] | None:
    return None if found is None else attrs.asdict(found)


def _prefix(prefix: Prefix, *, show_keys: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if show_keys:
        largest = max(prefix.keys, key=lambda key: (key.memory or 0, key.length or 0))
        shown["largest_key"] = printable(largest.name)
    return {
        "database": prefix.database,
        "prefix": prefix.name,
        "namespace": prefix.namespace,
        "sampled": prefix.sampled,
        "share": round(prefix.share, 6),
        "keys": prefix.estimate.keys,
        "margin": prefix.estimate.margin,
        "types": dict(prefix.kinds),
        "encodings": dict(prefix.encodings),
        "key_bytes": _figures(prefix.key_bytes),
        "lengths": {kind: _figures(lengths) for kind, lengths in prefix.lengths.items()},
        "memory_bytes": _figures(prefix.memory),
        "expiring": None if prefix.expiring is None else round(prefix.expiring, 6),
        **shown,
    }


def _watched(watched: Watched) -> dict[str, Any]:
    return {
        "commands": watched.lines,
        "by_scripts": watched.by_scripts,
        "unread": watched.unread,
        "behind": watched.behind,
        "over_slots": {name: number for name, number in watched.shards.items() if number},
        "over_namespaces": {name: number for name, number in watched.namespaces.items() if number},
        "prefixes": [
            {"database": database, "prefix": name, "namespace": namespace, "commands": dict(commands.most_common())}
            for (database, name, namespace), commands in watched.commands.items()
        ],
    }
