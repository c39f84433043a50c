"""OrganoidTracker files: every version, and every trap in them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment, Status
from napari_celltrain.formats import format_of, read_experiments, write_experiment

V2 = {
    "version": "v2",
    "name": "crypt 3",
    "name_is_automatic": False,
    "positions": [
        {
            "time_point": 1,
            "coords_xyz_px": [[5.9, 6.9, 3.9], [20, 21, 4]],
            "position_meta": {"type": ["PANETH", None]},
        },
        {"time_point": 2, "coords_xyz_px": [[5, 7, 4], [8, 7, 4], [20, 22, 4]]},
    ],
    "tracks": [
        {
            "time_point_start": 1,
            "coords_xyz_px": [[20, 21, 4], [20, 22, 4]],
            "link_meta": {"link_probability": [0.98]},
        },
        {
            "time_point_start": 1,
            "coords_xyz_px": [[5.9, 6.9, 3.9]],
            "lineage_meta": {"fate": "unknown"},
        },
        {
            "time_point_start": 2,
            "coords_xyz_px": [[5, 7, 4]],
            "coords_xyz_px_before": [[5.9, 6.9, 3.9]],
        },
        {
            "time_point_start": 2,
            "coords_xyz_px": [[8, 7, 4]],
            "coords_xyz_px_before": [[5.9, 6.9, 3.9]],
        },
    ],
    "image_resolution": {"x_um": 0.4, "y_um": 0.5, "z_um": 2.0, "t_m": 12.0},
    "image_offsets": [{"x": 0, "y": -12.0, "z": 0, "_time_point_number": 2}],
    "image_channel_descriptions": [{"name": "H2B-mCherry", "colormap": "gray"}],
}


def node(t, x, y, z, **more):
    return {"id": {"x": x, "y": y, "z": z, "_time_point_number": t}, **more}


def v1(**more):
    source, target = node(1, 1.5, 2.5, 3.0)["id"], node(2, 2, 3, 4)["id"]
    return {
        "version": "v1",
        "positions": {"1": [[1.5, 2.5, 3.0]], "2": [[2, 3, 4]]},
        "links": {
            "directed": False,
            "multigraph": False,
            "graph": {},
            "nodes": [node(1, 1.5, 2.5, 3.0, type="PANETH"), node(2, 2, 3, 4)],
            "links": [{"source": source, "target": target, "link_probability": 0.9}],
        },
        "image_resolution": {"x_um": 0.4, "y_um": 0.4, "z_um": 2.0, "t_m": 12.0},
        "image_offsets": [],
    } | more


@pytest.fixture
def read(tmp_path):
    def read_content(content, name="made.aut", **options):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        (experiment,) = read_experiments(path, **options)
        return experiment

    return read_content


def codes(experiment):
    return [finding.code for finding in experiment.findings]


def test_version_2_holds_positions_a_division_and_what_is_known_of_the_image(read):
    experiment = read(V2)
    annotations = experiment.annotations
    assert experiment.name == "crypt 3"
    assert experiment.voxel_size_um == (2.0, 0.5, 0.4)
    assert experiment.frame_interval_s == 720
    assert annotations.t.tolist() == [1, 1, 2, 2, 2]
    assert annotations.positions[0].tolist() == [3.9, 6.9, 5.9]
    assert sorted(map(tuple, annotations.links.tolist())) == [(0, 2), (0, 3), (1, 4)]
    assert annotations.features["type"].tolist() == ["PANETH", "", "", "", ""]
    assert annotations.features["lineage:fate"].tolist() == ["unknown", "", "", "", ""]
    linked = {
        tuple(link): p
        for link, p in zip(
            annotations.links.tolist(), annotations.link_features["link_probability"], strict=True
        )
    }
    assert linked[(1, 4)] == 0.98
    assert np.isnan(linked[(0, 2)])


def test_image_offsets_are_taken_away_and_kept(read):
    experiment = read(V2)
    assert experiment.annotations.positions[2].tolist() == [4, 19, 5]
    assert dict(experiment.image_offsets) == {2: (0, -12, 0)}


def test_a_written_file_says_the_same_again(read, tmp_path):
    first = read(V2)
    write_experiment(tmp_path / "again.aut", first)
    content = json.loads((tmp_path / "again.aut").read_text("utf-8"))
    assert content["version"] == "v2"
    assert content["image_resolution"] == V2["image_resolution"]
    assert content["image_offsets"] == V2["image_offsets"]
    assert content["positions"] == V2["positions"]
    key = lambda track: json.dumps(track, sort_keys=True)  # noqa: E731
    assert sorted(content["tracks"], key=key) == sorted(V2["tracks"], key=key)


def test_version_1_is_read(read):
    annotations = read(v1()).annotations
    assert annotations.t.tolist() == [1, 2]
    assert annotations.positions.tolist() == [[3.0, 2.5, 1.5], [4, 3, 2]]
    assert annotations.links.tolist() == [[0, 1]]
    assert annotations.features["type"].tolist() == ["PANETH", ""]
    assert annotations.link_features["link_probability"].tolist() == [0.9]


def test_version_1_links_may_run_backward(read):
    content = v1()
    link = content["links"]["links"][0]
    link["source"], link["target"] = link["target"], link["source"]
    assert read(content).annotations.links.tolist() == [[0, 1]]


def test_version_1_positions_only_in_links_count(read):
    assert len(read(v1(positions={"1": [[1.5, 2.5, 3.0]]})).annotations) == 2


def test_version_1_shape_numbers_behind_the_position_are_skipped(read):
    content = v1(positions={"1": [[1.5, 2.5, 3.0, "ellipse", 7, [1, 2]]], "2": [[2, 3, 4]]})
    assert len(read(content).annotations) == 2


def test_version_1_shapes_win_over_positions(read):
    content = v1(positions={"1": [[9, 9, 9]]}, shapes={"1": [[1.5, 2.5, 3.0, 1]]}, links=None)
    assert read(content).annotations.positions.tolist() == [[3, 2.5, 1.5]]


@pytest.mark.parametrize("key", ["links_scratch", "links_baseline"])
def test_version_1_older_names_of_links(read, key):
    content = v1()
    content[key] = content.pop("links")
    assert len(read(content).annotations.links) == 1


def test_a_file_without_version_but_with_family_scores_is_version_1(read):
    content = v1(family_scores=[])
    del content["version"]
    assert len(read(content).annotations.links) == 1


def test_a_bare_graph_is_read(read):
    assert len(read(v1()["links"], "graph.json").annotations.links) == 1


def test_a_bare_table_of_positions_is_read(read):
    annotations = read({"1": [[1, 2, 3], [4, 5, 6]], "-2": [[7, 8, 9]]}, "pixels.json").annotations
    assert annotations.t.tolist() == [1, 1, -2]
    assert annotations.positions[2].tolist() == [9, 8, 7]


def test_version_1_keeps_what_it_knows_of_whole_lineages(read, tmp_path):
    content = v1()
    content["links"]["nodes"][0]["__lineage_fate"] = "unknown"
    experiment = read(content)
    assert experiment.annotations.features["lineage:fate"].tolist() == ["unknown", ""]
    write_experiment(tmp_path / "again.aut", experiment)
    (track,) = json.loads((tmp_path / "again.aut").read_text("utf-8"))["tracks"]
    assert track["lineage_meta"] == {"fate": "unknown"}


@pytest.mark.parametrize("values", [["A"], ["A", None, "B", "one too many"]])
def test_position_metadata_may_be_shorter_or_longer_than_the_positions(read, values):
    block = {"time_point": 0, "coords_xyz_px": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}
    experiment = read({"version": "v2", "positions": [block | {"position_meta": {"type": values}}]})
    expected = [value or "" for value in (values + [None] * 3)[:3]]
    assert experiment.annotations.features["type"].tolist() == expected


def test_positions_only_in_tracks_count(read):
    experiment = read(
        {
            "version": "v2",
            "tracks": [{"time_point_start": 3, "coords_xyz_px": [[1, 2, 3], [1, 2, 4]]}],
        }
    )
    assert experiment.annotations.t.tolist() == [3, 4]
    assert len(experiment.annotations.links) == 1
    assert "only-in-tracks" in codes(experiment)


def test_a_mother_that_does_not_exist_is_noted_and_gone_over(read):
    content = {
        "version": "v2",
        "tracks": [
            {
                "time_point_start": 3,
                "coords_xyz_px": [[1, 2, 3]],
                "coords_xyz_px_before": [[50, 2, 3]],
            }
        ],
    }
    experiment = read(content)
    assert len(experiment.annotations) == 1
    assert not len(experiment.annotations.links)
    (finding,) = [one for one in experiment.findings if one.code == "unknown-mother"]
    assert finding.time_point == 3


def test_a_mother_is_found_though_her_coordinate_was_rounded(read):
    content = json.loads(json.dumps(V2))
    content["tracks"][2]["coords_xyz_px_before"] = [[5.9004, 6.8997, 3.9]]
    assert len(read(content).annotations.links) == 3


def test_coordinates_of_two_numbers_are_in_plane_0(read):
    experiment = read(
        {"version": "v2", "positions": [{"time_point": 0, "coords_xyz_px": [[1, 2], [3, 4]]}]}
    )
    assert experiment.annotations.positions.tolist() == [[0, 2, 1], [0, 4, 3]]
    assert "no-z" in codes(experiment)


@pytest.mark.parametrize("bad", [[1], [1, 2, 3, 4], ["a", "b", "c"], "abc", None, {"x": 1}])
def test_other_coordinates_are_refused_with_their_place(read, bad):
    with pytest.raises(CellTrainError, match=r"positions\[1\].coords_xyz_px\[2\]"):
        read(
            {
                "version": "v2",
                "positions": [
                    {"time_point": 0, "coords_xyz_px": []},
                    {"time_point": 1, "coords_xyz_px": [[1, 2, 3], [4, 5, 6], bad]},
                ],
            }
        )


def test_positions_listed_twice_are_taken_once(read):
    experiment = read(
        {
            "version": "v2",
            "positions": [
                {
                    "time_point": 0,
                    "coords_xyz_px": [[1, 2, 3], [1.004, 2, 3], [1, 2, 3], [1.5, 2, 3]],
                },
                {"time_point": 1, "coords_xyz_px": [[1, 2, 3]]},
            ],
        }
    )
    assert experiment.annotations.t.tolist() == [0, 0, 1]
    assert "duplicates" in codes(experiment)


def test_positions_that_are_no_numbers_are_left_out(read):
    experiment = read(
        '{"version": "v2", "positions": [{"time_point": 4, "coords_xyz_px": '
        "[[1, NaN, 3], [1, 2, 3], [Infinity, 2, 3]]}]}"
    )
    assert len(experiment.annotations) == 1
    (finding,) = [one for one in experiment.findings if one.code == "no-number"]
    assert finding.time_point == 4
    assert finding.message.startswith("2 positions")


def test_time_points_may_be_texts_and_negative(read):
    experiment = read(
        {"version": "v2", "positions": [{"time_point": "-3", "coords_xyz_px": [[1, 2, 3]]}]}
    )
    assert experiment.annotations.t.tolist() == [-3]


@pytest.mark.parametrize("bad", [1.5, "x", None, True, [1], 10**30])
def test_other_time_points_are_refused_with_their_place(read, bad):
    with pytest.raises(CellTrainError, match=r"positions\[0\].time_point"):
        read({"version": "v2", "positions": [{"time_point": bad, "coords_xyz_px": [[1, 2, 3]]}]})


def test_positions_stay_between_pixels(read):
    experiment = read(
        {"version": "v2", "positions": [{"time_point": 0, "coords_xyz_px": [[-0.5, 2.75, 3.25]]}]}
    )
    assert experiment.annotations.positions.tolist() == [[3.25, 2.75, -0.5]]


def test_dead_and_shed_cells_are_pointed_out(read):
    content = {
        "version": "v2",
        "positions": [
            {
                "time_point": 0,
                "coords_xyz_px": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
                "position_meta": {"ending": ["dead", None, "out_of_view"]},
            }
        ],
    }
    experiment = read(content)
    (finding,) = [one for one in experiment.findings if one.code == "dead-or-shed"]
    assert finding.points == (0,)
    assert experiment.annotations.is_cell.all()
    left_out = read(content, leave_out_endings=True).annotations
    assert left_out.status.tolist() == [Status.UNKNOWN, Status.CELL, Status.CELL]


def test_image_filters_are_not_applied_but_mentioned(read):
    content = V2 | {"image_filters": {"channel_0": [{"type": "threshold", "min": 20}]}}
    assert "image-filters" in codes(read(content))


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e300", '"x"', "[]", "{}"])
@pytest.mark.parametrize("axis", "xyz")
def test_offsets_that_are_no_numbers_are_refused_with_their_place(read, bad, axis):
    entry = {"x": "1", "y": "2", "z": "3", "_time_point_number": "2"} | {axis: bad}
    text = ", ".join(f'"{key}": {value}' for key, value in entry.items())
    if bad == "[]" or bad == "{}":  # nothing, which is 0
        assert read('{"version": "v2", "image_offsets": [{' + text + "}]}").image_offsets
        return
    with pytest.raises(CellTrainError, match=r"image_offsets\[0\]"):
        read('{"version": "v2", "image_offsets": [{' + text + "}]}")


def test_an_unknown_version_is_refused_by_name(read):
    with pytest.raises(CellTrainError, match="version 'v3'"):
        read({"version": "v3", "positions": []})


def test_a_truncated_file_is_refused_with_its_line(read):
    with pytest.raises(CellTrainError, match="line 1"):
        read(json.dumps(V2)[:200])


def test_a_deeply_nested_file_is_refused(read):
    with pytest.raises(CellTrainError, match="nested"):
        read('{"version": "v2", "positions": ' + "[" * 100_000)


def test_a_mark_at_the_beginning_of_the_file_does_no_harm(read):
    assert len(read("\ufeff" + json.dumps(V2)).annotations) == 5


def test_link_metadata_may_be_shorter_than_the_track(read):
    experiment = read(
        {
            "version": "v2",
            "tracks": [
                {
                    "time_point_start": 0,
                    "coords_xyz_px": [[1, 1, 1], [2, 1, 1], [3, 1, 1]],
                    "link_meta": {"link_penalty": [-2.5]},
                }
            ],
        }
    )
    penalties = experiment.annotations.link_features["link_penalty"]
    assert penalties[0] == -2.5
    assert np.isnan(penalties[1])


def test_a_merge_has_two_mothers(read):
    experiment = read(
        {
            "version": "v2",
            "tracks": [
                {"time_point_start": 0, "coords_xyz_px": [[1, 1, 1]]},
                {"time_point_start": 0, "coords_xyz_px": [[9, 1, 1]]},
                {
                    "time_point_start": 1,
                    "coords_xyz_px": [[5, 1, 1]],
                    "coords_xyz_px_before": [[1, 1, 1], [9, 1, 1]],
                    "link_meta_before": {"link_probability": [0.5, 0.25]},
                },
            ],
        }
    )
    assert experiment.annotations.links.tolist() == [[0, 2], [1, 2]]
    assert experiment.annotations.link_features["link_probability"].tolist() == [0.5, 0.25]


def test_an_unknown_resolution_is_zero_in_the_file(read):
    assert (
        read(V2 | {"image_resolution": {"x_um": 0, "y_um": 0, "z_um": 0, "t_m": 0}}).voxel_size_um
        is None
    )
    assert read({k: v for k, v in V2.items() if k != "image_resolution"}).voxel_size_um is None


def test_what_the_person_says_wins_over_the_file(read):
    assert read(V2, voxel_size_um=(1.0, 0.1, 0.1)).voxel_size_um == (1.0, 0.1, 0.1)


def test_a_skipping_link_is_written_with_positions_in_between(tmp_path):
    annotations = Annotations([0, 3], [[0, 0, 0], [0, 0, 30]], [[0, 1]])
    write_experiment(tmp_path / "gap.aut", Experiment("gap", annotations))
    content = json.loads((tmp_path / "gap.aut").read_text("utf-8"))
    assert [track["coords_xyz_px"] for track in content["tracks"]] == [
        [[0, 0, 0], [10, 0, 0], [20, 0, 0], [30, 0, 0]]
    ]
    assert content["positions"][1]["position_meta"] == {"interpolated": [True]}
    (read_again,) = read_experiments(tmp_path / "gap.aut")
    assert read_again.annotations.t.tolist() == [0, 3]
    assert read_again.annotations.links.tolist() == [[0, 1]]


def test_a_position_in_between_that_somebody_moved_stays(tmp_path):
    annotations = Annotations([0, 2], [[0, 0, 0], [0, 0, 30]], [[0, 1]])
    path = tmp_path / "gap.aut"
    write_experiment(path, Experiment("gap", annotations))
    path.write_text(path.read_text("utf-8").replace("[15.0, 0.0, 0.0]", "[17.0, 0.0, 0.0]"))
    (experiment,) = read_experiments(path)
    assert experiment.annotations.positions[:, 2].tolist() == [0, 17, 30]


@pytest.mark.parametrize(
    ("name", "content", "ours"),
    [
        ("a.aut", "{}", True),
        ("a.aut", "\n {", True),
        ("a.aut", "[1, 2]", False),
        ("a.json", '{"version": "v2", "positions": []}', True),
        ("a.json", '{"1": [[1, 2, 3]]}', True),
        ("a.json", '{"1": []}', True),
        ("a.json", '{"family_scores": []}', True),
        ("a.json", '{"version": "1.0", "settings": {}}', False),
        ("a.json", '{"directed": true, "nodes": [{"id": 1}]}', False),
        ("a.json", '{"type": "FeatureCollection"}', False),
        ("a.json", "[]", False),
        ("a.txt", '{"version": "v2"}', False),
    ],
)
def test_only_its_own_files_are_recognised(name, content, ours, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    found = format_of(path)
    assert (found is not None and found.name == "OrganoidTracker") == ours


CARRIED = {
    "image_timings": {"min_time_point": 1, "timings_m": [0, 12, 30]},
    "image_channel_descriptions": [{"name": "H2B", "colormap": "gray"}],
    "image_filters": {"channel_0": [{"type": "threshold", "min": 8}]},
    "beacons": {"1": [[1, 2, 3]]},
    "data_axes": [{"a": 1}],
    "other_data": {"mine": [1, "x"]},
    "color": [1, 0.5, 0],
}
TWO = [
    {"time_point": 1, "coords_xyz_px": [[1, 2, 3], [9, 8, 7.5]]},
    {"time_point": 2, "coords_xyz_px": [[1, 2, 3]]},
]


def test_what_nothing_here_uses_is_written_back(read, tmp_path):
    experiment = read({"version": "v2", "positions": TWO, **CARRIED})
    write_experiment(tmp_path / "again.aut", experiment)
    written = json.loads((tmp_path / "again.aut").read_text("utf-8"))
    assert {key: written.get(key) for key in CARRIED} == CARRIED


def test_connections_between_positions_that_are_still_there_are_written_back(read, tmp_path):
    connections = {
        "1": {
            "from_xyz_px": [[1, 2, 3], [1, 2, 3]],
            "to_xyz_px": [[9, 8, 7.5], [5, 5, 5]],
            "metadata": {"kind": ["a", "b"], "short": [1]},
        },
        "2": {"from_xyz_px": [[1, 2, 3], [1, 2, None]], "to_xyz_px": [[9, 8, 7.5], [1, 2, 3]]},
        "x": {"from_xyz_px": [], "to_xyz_px": []},
        "3": [[{"x": 1, "y": 2, "z": 3}, {"x": 1, "y": 2, "z": 4}]],
    }
    offsets = [{"x": 5, "y": 0, "z": 0, "_time_point_number": 1}]
    experiment = read(
        {"version": "v2", "positions": TWO, "connections": connections, "image_offsets": offsets}
    )
    assert experiment.annotations.positions[0].tolist() == [3, 2, -4]
    write_experiment(tmp_path / "again.aut", experiment)
    written = json.loads((tmp_path / "again.aut").read_text("utf-8"))
    assert written["connections"] == {
        "1": {"from_xyz_px": [[1, 2, 3]], "to_xyz_px": [[9, 8, 7.5]], "metadata": {"kind": ["a"]}}
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_connections_in_the_old_form_are_written_in_the_new_one(read, tmp_path, version):
    first, second = {"x": 1, "y": 2, "z": 3}, {"x": 9, "y": 8, "z": 7.5, "_time_point_number": 1}
    gone = {"x": 100, "y": 8, "z": 7}
    connections = {"1": [[first, second], [gone, first], [first], [first, 7], [{"x": 1}, second]]}
    positions = {"1": [[1, 2, 3], [9, 8, 7.5]]} if version == "v1" else TWO
    experiment = read({"version": version, "positions": positions, "connections": connections})
    assert not len(experiment.annotations.links)  # neighbours are no tracks
    write_experiment(tmp_path / "again.aut", experiment)
    written = json.loads((tmp_path / "again.aut").read_text("utf-8"))
    assert written["connections"] == {"1": {"from_xyz_px": [[1, 2, 3]], "to_xyz_px": [[9, 8, 7.5]]}}


def test_what_could_not_be_written_again_is_not_carried(read):
    experiment = read(
        {"version": "v2", "positions": TWO, "other_data": {"a": float("nan")}, "color": [1, 0, 0]}
    )
    assert experiment.carried == {"OrganoidTracker": {"color": [1, 0, 0]}}
