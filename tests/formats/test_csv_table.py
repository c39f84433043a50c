"""Tables: whose they are, which column is which, and what the numbers mean."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_named, format_of, read_experiments
from napari_celltrain.images import ArraySource

FOUR_ROWS = [(0, 1.5, 2.5), (1, 1.5, 3.5), (2, 1.0, 4.5), (2, 2.0, 4.5)]

# program: (text, expected links, unit); always the four rows above, the last two are daughters
TABLES = {
    "napari points": (
        "index,axis-0,axis-1,axis-2\n0.0,0.0,1.5,2.5\n1.0,1.0,1.5,3.5\n2.0,2.0,1.0,4.5\n"
        "3.0,2.0,2.0,4.5\n",
        0,
    ),
    "table": ("t,y,x\n0,1.5,2.5\n1,1.5,3.5\n2,1.0,4.5\n2,2.0,4.5\n", 0),
    "Ultrack": (
        "track_id,t,z,y,x,id,parent_track_id,parent_id\n1,0,0,1.5,2.5,11,-1,-1\n"
        "1,1,0,1.5,3.5,12,-1,11\n2,2,0,1.0,4.5,13,1,12\n3,2,0,2.0,4.5,14,1,12\n",
        3,
    ),
    "motile": (
        "id,parent_id,time,y,x\n1,-1,0,1.5,2.5\n2,1,1,1.5,3.5\n3,2,2,1.0,4.5\n4,2,2,2.0,4.5\n",
        3,
    ),
    "LapTrack": (
        "frame,index,y,x,track_id,tree_id\n0,0,1.5,2.5,0,0\n1,0,1.5,3.5,0,0\n2,0,1.0,4.5,1,0\n"
        "2,1,2.0,4.5,2,0\n",
        1,
    ),
    "btrack": ("t,x,y,z,label\n0,2.5,1.5,0,5\n1,3.5,1.5,0,5\n2,4.5,1,0,5\n2,4.5,2,0,5\n", 0),
    "trackpy": (
        "y,x,mass,frame,particle\n1.5,2.5,9,0,0\n1.5,3.5,9,1,0\n1,4.5,9,2,1\n2,4.5,9,2,2\n",
        1,
    ),
    "Cell-ACDC": (
        "frame_i,time_minutes,Cell_ID,x_centroid,y_centroid,parent_ID_tree\n0,0,1,2.5,1.5,-1\n"
        "1,5,1,3.5,1.5,-1\n2,10,2,4.5,1.0,1\n2,10,3,4.5,2.0,1\n",
        3,
    ),
    "CellProfiler": (
        "ImageNumber,ObjectNumber,Metadata_T,Location_Center_X,Location_Center_Y,"
        "TrackObjects_Label_50,TrackObjects_ParentObjectNumber_50\n"
        "1,1,0,2.5,1.5,1,0\n2,1,1,3.5,1.5,1,1\n3,1,2,4.5,1.0,1,1\n3,2,2,4.5,2.0,1,1\n",
        3,
    ),
    "ImageJ Manual Tracking": (
        " ,Track n°,Slice n°,X,Y,Distance,Velocity,Pixel Value\n1,1,1,2.5,1.5,-1,-1,9\n"
        "2,1,2,3.5,1.5,1,1,9\n3,2,3,4.5,1.0,-1,-1,9\n4,3,3,4.5,2.0,-1,-1,9\n",
        1,
    ),
    "ilastik": (
        "frame,labelimageId,trackId,parentTrackId,Object_Center_0,Object_Center_1\n"
        "0,3,1,0,2.5,1.5\n1,3,1,0,3.5,1.5\n2,3,2,1,4.5,1\n2,4,3,1,4.5,2\n",
        3,
    ),
}


@pytest.fixture
def read(tmp_path):
    def read_text(text, name="table.csv", encoding="utf-8", **options):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        (experiment,) = read_experiments(path, **options)
        return experiment

    return read_text


def places(annotations):
    return [
        (int(t), y, x)
        for t, (_, y, x) in zip(annotations.t, annotations.positions.tolist(), strict=True)
    ]


def codes(experiment):
    return [finding.code for finding in experiment.findings]


@pytest.mark.parametrize("program", TABLES)
def test_each_programs_table_is_known_by_its_header(program, read, tmp_path):
    text, n_links = TABLES[program]
    experiment = read(text)
    assert format_named("CSV table").preset_of(tmp_path / "table.csv") == program
    assert places(experiment.annotations) == FOUR_ROWS
    links = set(map(tuple, experiment.annotations.links.tolist()))
    assert links == {0: set(), 1: {(0, 1)}, 3: {(0, 1), (1, 2), (1, 3)}}[n_links]


def test_trackmate_spots_with_four_header_rows(read):
    text = (
        "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,FRAME,RADIUS\n"
        "Label,Spot ID,Track ID,Quality,X,Y,Z,Frame,Radius\nLabel,Spot ID,Track ID,Q,X,Y,Z,F,R\n"
        ",,,(quality),(micron),(micron),(micron),,(micron)\n"
        "ID1,1,0,0.5,4,6,10,0,2.5\nID2,2,0,0.75,4,8,10,1,2.5\nID3,3,,1,4,8,10,1,2.5\n"
    )
    annotations = read(text, voxel_size_um=(5.0, 2.0, 1.0)).annotations
    assert annotations.positions.tolist() == [[2, 3, 4], [2, 4, 4], [2, 4, 4]]
    assert annotations.features["score"].tolist() == [0.5, 0.75, 1]
    assert annotations.features["radius_um"].tolist() == [2.5, 2.5, 2.5]
    assert annotations.links.tolist() == [[0, 1]]


def test_trackmate_spots_with_one_header_row(read):
    header = "Label,ID,TRACK_ID,POSITION_X,POSITION_Y,POSITION_Z,FRAME"
    text = f"{header}\na,1,0,4,6,0,0\nb,2,0,4,8,0,1\n"
    annotations = read(text, voxel_size_um=(1.0, 2.0, 2.0)).annotations
    assert annotations.positions.tolist() == [[0, 3, 2], [0, 4, 2]]


def test_tracks_that_divide_within_one_number_are_not_linked_at_random(read):
    experiment = read(
        "TRACK_ID,POSITION_X,POSITION_Y,FRAME\n0,1,1,0\n0,1,2,1\n0,9,2,1\n7,5,5,0\n7,5,5,1\n",
        voxel_size_um=(1.0, 1.0, 1.0),
    )
    assert experiment.annotations.links.tolist() == [[3, 4]]
    assert "branched-tracks" in codes(experiment)


def test_mastodon_tables_are_in_micrometres_and_may_have_blanks_in_the_header(read):
    header = "id, label, timepoint, x, y, z, radius, parent_id"
    text = f"{header}\n10,a,0,4,6,10,2,-1\n11,b,1,4,8,10,2,10\n"
    annotations = read(text, voxel_size_um=(5.0, 2.0, 1.0)).annotations
    assert annotations.positions.tolist() == [[2, 3, 4], [2, 4, 4]]
    assert annotations.links.tolist() == [[0, 1]]


def test_imaris_tables_count_time_from_1_below_a_preamble(read):
    text = (
        "\nPosition\n==================== \n"
        "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID\n"
        "4,6,10,um,Spot,Position,1,1000000000,0\n4,8,10,um,Spot,Position,2,1000000000,1\n"
    )
    annotations = read(text, voxel_size_um=(5.0, 2.0, 1.0)).annotations
    assert annotations.t.tolist() == [0, 1]
    assert annotations.positions.tolist() == [[2, 3, 4], [2, 4, 4]]
    assert annotations.links.tolist() == [[0, 1]]


def test_micrometres_without_a_voxel_size_stay_as_they_are_and_say_so(read):
    experiment = read("timepoint,x,y,z,radius\n0,4,6,10,2\n")
    assert experiment.annotations.positions.tolist() == [[10, 6, 4]]
    assert codes(experiment) == ["unknown-voxel-size"]


def test_micrometres_use_the_images_voxel_size(read):
    images = ArraySource(np.zeros((2, 5, 20, 20)), "tzyx", voxel_size_um=(5.0, 2.0, 1.0))
    experiment = read("timepoint,x,y,z,radius\n0,4,6,10,2\n", images=images)
    assert experiment.annotations.positions.tolist() == [[2, 3, 4]]


@pytest.mark.parametrize(
    ("header", "position"),
    [
        ("t,z [um],y [um],x [um]", [2, 3, 4]),
        ("frame;z_px;y_px;x_px", [10, 6, 4]),
        ("time,Z (µm),Y (µm),X (µm)", [2, 3, 4]),
        ("T\tPlane\tRow\tColumn", [10, 6, 4]),
    ],
)
def test_units_in_the_header(read, header, position):
    delimiter = next(one for one in ",;\t" if one in header)
    experiment = read(
        f"{header}\n" + delimiter.join(["0", "10", "6", "4"]) + "\n", voxel_size_um=(5.0, 2.0, 1.0)
    )
    assert experiment.annotations.positions.tolist() == [position]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [",", "."])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiters_decimal_commas_and_encodings(read, delimiter, decimal, encoding):
    text = "t,z,y,x,größe\n0,0.5,1.25,2.75,3.5\n1,0.5,1.25,2.75,4.5\n"
    text = text.replace(",", delimiter).replace(".", decimal)
    annotations = read(text, encoding=encoding).annotations
    assert annotations.positions[0].tolist() == [0.5, 1.25, 2.75]
    assert annotations.features["größe"].tolist() == [3.5, 4.5]


@pytest.mark.parametrize("n", [1, 50])
def test_decimal_commas_in_quotes_between_commas(read, n):
    rows = "".join(f'"{t}","{t},5","2,25","{t + 3},75"\n' for t in range(n))
    annotations = read('"t","z","y","x"\n' + rows).annotations
    assert annotations.t.tolist() == list(range(n))
    assert annotations.positions[-1].tolist() == [n - 0.5, 2.25, n + 2.75]


def test_quoted_commas_between_thousands_or_in_lists_are_no_decimal_commas(read):
    experiment = read('t,y,x\n0,2,3\n1,"1,234",3\n')
    assert experiment.annotations.t.tolist() == [0]
    assert codes(experiment) == ["no-number"]
    features = read(
        't,y,x,score,pair\n0,2.5,3,0.5,"1,2;3"\n1,2.5,3,0.5,"1,2"\n'
    ).annotations.features
    assert features["pair"].tolist() == ["1,2;3", "1,2"]


def test_parents_by_track_where_rows_have_no_id(read):
    annotations = read(
        "t,z,y,x,track_id,parent_id\n0,0,1,1,1,\n1,0,1,2,1,\n2,0,1,3,2,1\n"
        "2,0,5,3,3,1\n3,0,5,3,3,1\n"
    ).annotations
    assert sorted(map(tuple, annotations.links.tolist())) == [(0, 1), (1, 2), (1, 3), (3, 4)]


@pytest.mark.parametrize(
    "header", ["track_id,t,y,x", "ID,T,Y,X", "track-id,t,z,y,x", "index,track_id,t,z,y,x"]
)
def test_napari_tracks_as_people_save_them(read, header):
    rows = {
        "track_id,t,y,x": "5,0,1.5,2.5\n5,1,1.5,3.5\n6,2,1,4.5\n7,2,2,4.5\n",
        "ID,T,Y,X": "5,0,1.5,2.5\n5,1,1.5,3.5\n6,2,1,4.5\n7,2,2,4.5\n",
        "track-id,t,z,y,x": "5,0,0,1.5,2.5\n5,1,0,1.5,3.5\n6,2,0,1,4.5\n7,2,0,2,4.5\n",
        "index,track_id,t,z,y,x": (
            "0,5,0,0,1.5,2.5\n1,5,1,0,1.5,3.5\n2,6,2,0,1,4.5\n3,7,2,0,2,4.5\n"
        ),
    }
    experiment = read(f"{header}\n{rows[header]}")
    assert places(experiment.annotations) == FOUR_ROWS
    # a column called only ID could be each row's own number: then there are no links
    linked = [] if header.startswith("ID") else [[0, 1]]
    assert experiment.annotations.links.tolist() == linked


TRACKS = (
    "frame,index,y,x,track_id,tree_id\n0,0,1,2,0,0\n1,0,1,3,0,0\n2,0,1,4,1,0\n2,1,5,4,2,0\n"
    "3,0,1,5,1,0\n3,1,5,5,2,0\n5,0,3,6,3,0\n"
)
SPLITS = ",parent_track_id,child_track_id\n0,0,1\n1,0,2\n"
MERGES = ",parent_track_id,child_track_id\n0,1,3\n1,2,3\n"


@pytest.mark.parametrize(
    ("tracks", "splits", "merges"),
    [
        ("tracks.csv", "splits.csv", "merges.csv"),
        ("track_df.csv", "split_df.csv", "merge_df.csv"),
        ("a track tracks 1.csv", "a track splits 1.csv", "a track merge 1.csv"),
        ("My_Tracks.CSV", "My_Splits.CSV", "My_Merges.CSV"),
    ],
)
def test_laptracks_splits_and_merges_lie_in_tables_beside_its_tracks(
    tmp_path, tracks, splits, merges
):
    for name, text in ((tracks, TRACKS), (splits, SPLITS), (merges, MERGES)):
        (tmp_path / name).write_text(text)
    for name in (tracks, splits, merges):  # whichever is opened
        assert format_of(tmp_path / name).name == "CSV table"
        (experiment,) = read_experiments(tmp_path / name)
        links = {tuple(link) for link in experiment.annotations.links.tolist()}
        assert links == {(0, 1), (2, 4), (3, 5), (1, 2), (1, 3), (4, 6), (5, 6)}
        assert not experiment.findings


def test_laptracks_tracks_without_merges(tmp_path):
    (tmp_path / "tracks.csv").write_text(TRACKS)
    (tmp_path / "splits.csv").write_text(SPLITS)
    (experiment,) = read_experiments(tmp_path / "tracks.csv")
    assert len(experiment.annotations.links) == 5


def test_splits_of_tracks_that_are_not_there_are_pointed_out(tmp_path):
    (tmp_path / "tracks.csv").write_text(TRACKS)
    rows = ["parent_track_id,child_track_id", "0,1", "0,77", "3,0", "x,y"]
    (tmp_path / "splits.csv").write_text("\n".join(rows) + "\n")
    (experiment,) = read_experiments(tmp_path / "tracks.csv")
    assert len(experiment.annotations.links) == 4
    assert codes(experiment) == ["unknown-track"]
    assert "2 rows of splits.csv" in experiment.findings[0].message


def test_other_tables_beside_a_table_of_tracks_are_left_alone(tmp_path):
    (tmp_path / "tracks.csv").write_text(TRACKS)
    (tmp_path / "splits.csv").write_text("train,test\n1,2\n")
    (experiment,) = read_experiments(tmp_path / "tracks.csv")
    assert len(experiment.annotations.links) == 3
    assert not experiment.findings
    assert format_of(tmp_path / "splits.csv") is None


def test_splits_without_their_tracks_are_declined(tmp_path):
    (tmp_path / "splits.csv").write_text(SPLITS)
    assert format_of(tmp_path / "splits.csv") is None
    with pytest.raises(CellTrainError, match=r"splits\.csv has no columns for x and y"):
        read_experiments(tmp_path / "splits.csv")


def test_parents_that_became_links_are_no_columns_any_more(read):
    features = read("id,parent_id,t,y,x,area\n1,-1,0,1,1,5\n2,1,1,1,1,6\n").annotations.features
    assert set(features) == {"id", "area"}


def test_an_imaris_table_of_a_german_computer(read):
    text = (
        "\nPosition\n==================== \n"
        "Position X;Position Y;Position Z;Unit;Category;Collection;Time;TrackID;ID\n"
        "4,5;6,25;10,5;um;Spot;Position;1;1000000000;0\n4,5;8;10;um;Spot;Position;2;1000000000;1\n"
    )
    annotations = read(text, encoding="utf-8-sig", voxel_size_um=(5.0, 2.0, 1.0)).annotations
    assert annotations.positions.tolist() == [[2.1, 3.125, 4.5], [2, 4, 4.5]]
    assert annotations.links.tolist() == [[0, 1]]


def test_motiles_own_units_are_found_out_by_the_image(read):
    """Newer versions write micrometres, older ones pixels, and the table does not say which."""
    images = ArraySource(np.zeros((2, 4, 30, 30), np.uint8), "tzyx", voxel_size_um=(5.0, 2.0, 2.0))
    rows = "".join(f"{i + 1},-1,{i // 8},15,{50 + i % 8},{40 + i % 8}\n" for i in range(16))
    experiment = read("id,parent_id,time,z,y,x\n" + rows, images=images)
    assert experiment.annotations.positions[0].tolist() == [15, 50, 40]
    (finding,) = experiment.findings
    assert "dividing them by the voxel size would bring it to 100%" in finding.message


def test_parents_that_are_not_there_are_pointed_out(read):
    experiment = read("id,parent_id,t,y,x\n1,77,0,1,1\n2,1,1,1,1\n")
    assert experiment.annotations.links.tolist() == [[0, 1]]
    assert codes(experiment) == ["unknown-mother"]


def test_links_between_cells_of_one_time_point_are_left_out(read):
    experiment = read("id,parent_id,t,y,x\n1,-1,0,1,1\n2,1,0,1,1\n")
    assert not len(experiment.annotations.links)
    assert codes(experiment) == ["link-within-time-point"]


def test_rows_without_numbers_are_left_out_and_counted(read):
    experiment = read("t,y,x,score\n0,1,2,0.5\n0,,2,0.5\n0,nan,2,0.5\nx,1,2,0.5\n1,1,2,\n")
    assert experiment.annotations.t.tolist() == [0, 1]
    assert np.isnan(experiment.annotations.features["score"][1])
    (finding,) = experiment.findings
    assert finding.message.startswith("3 rows")
    assert "line 3" in finding.message


@pytest.mark.parametrize("plane", ["1000.234,5", "nan", "abc", "", "\u22121", "1 234,5", "inf"])
def test_rows_whose_plane_is_no_number_are_left_out_and_counted(read, plane):
    experiment = read(f"t;z;y;x\n0;1,5;2;3\n1;{plane};2;3\n2;3,5;2;3\n")
    assert experiment.annotations.positions[:, 0].tolist() == [1.5, 3.5]
    (finding,) = experiment.findings
    assert finding.message.startswith("1 row of table.csv has no usable time, x, y and z and is")
    assert "line 3" in finding.message


def test_imaris_rows_whose_plane_is_no_number_are_left_out(read):
    header = "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID\n"
    rows = "4,6,nan,um,Spot,Position,1,1,0\n4,8,10,um,Spot,Position,2,1,1\n"
    experiment = read(header + rows, voxel_size_um=(5.0, 2.0, 1.0))
    assert experiment.annotations.positions.tolist() == [[2, 4, 4]]
    assert "no-number" in codes(experiment)


def test_a_table_without_a_plane_that_is_a_number_is_refused(read):
    with pytest.raises(CellTrainError, match="no row with numbers for time, x, y and z"):
        read("t,z,y,x\n0,abc,2,3\n")


def test_a_column_of_planes_that_is_empty_is_a_flat_image(read):
    assert read("t,z,y,x\n0,,2,3\n1,,2,3\n").annotations.positions[:, 0].tolist() == [0, 0]


def test_a_last_line_that_is_cut_off_is_left_out(read):
    assert len(read("t,y,x\n0,1,2\n1,1,2\n2,1").annotations) == 2


def test_other_columns_become_features(read):
    features = read(
        "t,y,x,Mean Intensity,kind,good\n0,1,2,9.5,a,True\n0,1,3,,b,False\n"
    ).annotations.features
    assert features["kind"].tolist() == ["a", "b"]
    assert features["good"].tolist() == [True, False]
    assert features["Mean Intensity"][0] == 9.5


def test_a_person_may_say_which_column_is_which(read):
    text = "when,down,across\n0,1,2\n"
    with pytest.raises(CellTrainError, match="no columns for x and y; its columns are when, down"):
        read(text)
    with pytest.raises(CellTrainError, match=r"no column for y; .* \(--column y=NAME on the comm"):
        read(text, columns={"x": "across"})
    with pytest.raises(CellTrainError, match="no column for x; its columns are t, across, y"):
        read("t,across,y\n0,1,2\n")
    columns = {"t": "when", "y": "down", "x": "across"}
    assert read(text, columns=columns).annotations.positions.tolist() == [[0, 1, 2]]


def test_a_channel_axis_of_napari_is_skipped(read):
    text = "index,axis-0,axis-1,axis-2,axis-3,axis-4\n0,7,1,2,3,4\n"
    annotations = read(text).annotations
    assert annotations.t.tolist() == [7]
    assert annotations.positions.tolist() == [[2, 3, 4]]


def test_times_that_are_no_frame_numbers_are_refused(read):
    with pytest.raises(CellTrainError, match=r"time point 0\.5"):
        read("t,y,x\n0,1,2\n0.5,1,2\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "just some text\n",
        "a,b,c\n1,2,3\n",
        "x,y\n",
        "x,y\n1,2\n",
        "index,shape-type,vertex-index,axis-0,axis-1\n0,rectangle,0,1,2\n",
        "date,price\n2020,1\n",
        "\0\0\0\0,\0",
    ],
)
def test_other_peoples_tables_are_declined(text, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(text)
    assert format_of(path) is None


def test_cellprofilers_other_names_for_the_centre(tmp_path):
    place = tmp_path / "MyExpt_Nuclei.csv"
    place.write_text(TABLES["CellProfiler"][0].replace("Location_Center", "AreaShape_Center"))
    assert format_named("CSV table").preset_of(place) == "CellProfiler"
    annotations = read_experiments(place)[0].annotations
    assert annotations.positions[:, 1:].tolist() == [list(row[1:]) for row in FOUR_ROWS]
    assert len(annotations.links) == 3


def test_a_table_without_times_says_that_all_is_one_time_point(tmp_path):
    place = tmp_path / "centres.csv"
    place.write_text("x,y\n1,2\n3,4\n")
    (experiment,) = read_experiments(place)
    assert experiment.annotations.t.tolist() == [0, 0]
    assert [one.code for one in experiment.findings] == ["no-time"]
    (experiment,) = read_experiments(place, columns={"t": "x"})
    assert experiment.annotations.t.tolist() == [1, 3]
    assert not experiment.findings


@pytest.mark.parametrize("n", [2, 3, 4])
def test_columns_that_are_called_as_naparis_axes_are_columns(tmp_path, n):
    """After the four that this program writes first; alone they are napari's points."""
    features = {f"axis-{at}": np.array([1000.0, 2000.0]) for at in range(n)}
    places = np.array([[0, 1.5, 2], [0, 3, 4.5]])
    annotations = Annotations(np.array([0, 1]), places, features=features)
    path = tmp_path / "tracks.csv"
    format_named("CSV table").write(path, Experiment("made", annotations))
    (read,) = read_experiments(path)
    np.testing.assert_array_equal(read.annotations.positions, annotations.positions)
    assert set(read.annotations.features) == set(features)


@pytest.mark.parametrize(("columns", "rows"), [(300_000, 3000), (4000, 30_000)])
def test_a_header_of_far_more_columns_than_the_rows_have_is_refused(
    tmp_path, little_memory, columns, rows
):
    """Short rows are filled up, which made gigabytes of two megabytes."""
    path = tmp_path / "wide.csv"
    header = ",".join(["t", "y", "x", *(f"c{number}" for number in range(columns))])
    path.write_text(header + "\n" + "0,1,2\n" * rows)
    assert format_of(path) is not None
    with little_memory(2**27), pytest.raises(CellTrainError, match="columns, of which most"):
        read_experiments(path)


def test_the_beginning_of_a_table_of_short_rows_is_recognised_in_little_memory(
    tmp_path, little_memory
):
    path = tmp_path / "wide.csv"
    path.write_text("t,y,x" + 2000 * ",c" + "\n" + "0\n" * 6000)
    with little_memory(2**26):
        format_of(path)
