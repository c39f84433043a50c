"""The positions and links of OrganoidTracker files, version 1, and of its plain JSON exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.aut_coordinates import Mentions, coordinates, to_annotations
from napari_celltrain.formats.aut_v2 import LINEAGE_PREFIX, time_point

if TYPE_CHECKING:
    from napari_celltrain.experiment import Annotations, Finding

_LINEAGE_KEY = "__lineage_"


def annotations_of_v1(content: dict[str, Any], findings: list[Finding]) -> Annotations:
    """Return the annotations in ``positions`` (or ``shapes``) and ``links``.

    Positions that only occur in links count as well.

    Raises
    ------
    CellTrainError
        Naming the place that is not as it has to be.
    """
    mentions = Mentions()
    key = "shapes" if content.get("shapes") else "positions"
    _add_positions(mentions, content.get(key) or {}, key, findings)
    for key in ("links", "links_scratch", "links_baseline"):
        if content.get(key) is not None:
            _add_graph(mentions, content[key], key, findings)
            break
    return to_annotations(mentions, findings)


def annotations_of_graph(content: dict[str, Any], findings: list[Finding]) -> Annotations:
    """Return the annotations of a bare node-link graph."""
    mentions = Mentions()
    _add_graph(mentions, content, "graph", findings)
    return to_annotations(mentions, findings)


def annotations_of_positions(content: dict[str, Any], findings: list[Finding]) -> Annotations:
    """Return the annotations of a bare ``{"1": [[x, y, z], ...], ...}``."""
    mentions = Mentions()
    _add_positions(mentions, content, "", findings)
    return to_annotations(mentions, findings)


def _add_positions(mentions: Mentions, content: Any, name: str, findings: list[Finding]) -> None:
    if not isinstance(content, dict):
        raise CellTrainError(f'"{name}" is no JSON object of time points.')
    for key, rows in content.items():
        place = f'{name}["{str(key)[:40]}"]'
        t = time_point(key, place)
        if isinstance(rows, list):  # what follows the coordinates described the cell's shape
            rows = [row[:3] if isinstance(row, list) else row for row in rows]
        xyz = coordinates(rows, place, findings)
        mentions.add(np.full(len(xyz), t), xyz)


def _add_graph(mentions: Mentions, graph: Any, name: str, findings: list[Finding]) -> None:
    if not isinstance(graph, dict):
        raise CellTrainError(f'"{name}" is no node-link graph.')
    nodes, links = graph.get("nodes") or [], graph.get("links") or []
    for key, entries in (("nodes", nodes), ("links", links)):
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise CellTrainError(f"{name}.{key} is no list of JSON objects.")
    first = _add_nodes(mentions, [node.get("id") for node in nodes], f"{name}.nodes", findings)
    for index, node in enumerate(nodes):
        values = {
            LINEAGE_PREFIX + key[len(_LINEAGE_KEY) :] if key.startswith(_LINEAGE_KEY) else key: [
                value
            ]
            for key, value in node.items()
            if key != "id"
        }
        mentions.add_features(first + index, values, 1)
    sources = _add_nodes(mentions, [one.get("source") for one in links], f"{name}.links", findings)
    targets = _add_nodes(mentions, [one.get("target") for one in links], f"{name}.links", findings)
    pairs = np.column_stack([np.arange(sources, targets), np.arange(targets, mentions.n)])
    values = {
        key: [one.get(key) for one in links]
        for key in dict.fromkeys(key for one in links for key in one)
        if key not in ("source", "target")
    }
    mentions.add_links(pairs, values)


def _add_nodes(mentions: Mentions, nodes: list[Any], place: str, findings: list[Finding]) -> int:
    t, xyz = [], []
    for index, node in enumerate(nodes):
        if not isinstance(node, dict):
            raise CellTrainError(f"{place}[{index}] names a position in an unknown way.")
        t.append(time_point(node.get("_time_point_number"), f"{place}[{index}]"))
        xyz.append([node.get("x"), node.get("y"), node.get("z", 0)])
    return mentions.add(np.array(t, np.int64), coordinates(xyz, place, findings))
