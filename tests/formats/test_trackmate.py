"""TrackMate's and MaMuT's XML in all the shapes in which it is found."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_of, read_experiments, write_experiment
from napari_celltrain.images import ArraySource

SPOTS = """<AllSpots nspots="4">
<SpotsInFrame frame="0"><Spot ID="10" name="a" QUALITY="2.5" FRAME="0" VISIBILITY="1"
 POSITION_X="1.0" POSITION_Y="2.0" POSITION_Z="4.0" RADIUS="3" MEAN_INTENSITY="7"/></SpotsInFrame>
<SpotsInFrame frame="1"><Spot ID="11" QUALITY="-1" FRAME="1" VISIBILITY="1"
 POSITION_X="1.5" POSITION_Y="2.0" POSITION_Z="4.0" RADIUS="3"/>
<Spot ID="12" FRAME="1" VISIBILITY="0"
 POSITION_X="9" POSITION_Y="9" POSITION_Z="4.0" RADIUS="3"/></SpotsInFrame>
<SpotsInFrame frame="3"><Spot ID="13" FRAME="3" VISIBILITY="1"
 POSITION_X="2.0" POSITION_Y="2.5" POSITION_Z="6.0" RADIUS="3"/></SpotsInFrame></AllSpots>"""
TRACKS = """<AllTracks><Track TRACK_ID="0" name="T0">
<Edge SPOT_SOURCE_ID="10" SPOT_TARGET_ID="11" LINK_COST="0.5"/>
<Edge SPOT_SOURCE_ID="13" SPOT_TARGET_ID="11"/></Track></AllTracks>"""
KEPT = '<FilteredTracks><TrackID TRACK_ID="0"/></FilteredTracks>'
IMAGE = (
    'filename="a.tif" folder="/data/" width="64" height="64" nslices="16" nframes="6" '
    'pixelwidth="0.5" pixelheight="0.25" voxeldepth="2.0" timeinterval="300"'
)


def document(
    *,
    spots=SPOTS,
    tracks=TRACKS,
    kept=KEPT,
    image=IMAGE,
    unit="µm",
    time="sec",
    version="7.14.0",
    order="spots first",
):
    parts = [spots, tracks, kept] if order == "spots first" else [tracks, kept, spots]
    settings = "" if image is None else f"<Settings><ImageData {image}/></Settings>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<TrackMate version="{version}"><Log>x</Log>'
        f'<Model spatialunits="{unit}" timeunits="{time}">{"".join(parts)}</Model>{settings}'
        "</TrackMate>"
    )


@pytest.fixture
def read(tmp_path):
    def read_document(text=None, encoding="utf-8", **options):
        path = tmp_path / "made.xml"
        path.write_bytes((document() if text is None else text).encode(encoding))
        options.setdefault("find_images", False)
        (experiment,) = read_experiments(path, **options)
        return experiment

    return read_document


def codes(experiment):
    return [finding.code for finding in experiment.findings]


def test_positions_are_divided_by_the_calibration_and_hidden_spots_left_out(read):
    experiment = read()
    annotations = experiment.annotations
    assert annotations.t.tolist() == [0, 1, 3]
    assert annotations.positions.tolist() == [[2, 8, 2], [2, 8, 3], [3, 10, 4]]
    assert experiment.voxel_size_um == (2.0, 0.25, 0.5)
    assert experiment.frame_interval_s == 300
    assert codes(experiment) == ["hidden-spots"]


def test_hidden_spots_on_demand(read):
    assert len(read(hidden_spots=True).annotations) == 4


def test_edges_run_forward_and_may_skip_frames(read):
    assert sorted(map(tuple, read().annotations.links.tolist())) == [(0, 1), (1, 2)]


def test_features_have_their_usual_names(read):
    features = read().annotations.features
    assert features["score"][0] == 2.5
    assert np.isnan(features["score"][1:]).all()  # -1 is TrackMate's word for made by hand
    assert features["radius_um"].tolist() == [3, 3, 3]
    assert features["MEAN_INTENSITY"][0] == 7
    assert features["track_id"].tolist() == [0, 0, 0]
    assert features["label"].tolist() == ["a", "", ""]
    assert np.isnan(read().annotations.link_features["link_cost"]).tolist() == [False, True]


def test_spots_of_rejected_tracks_by_an_option(read):
    text = document(kept="<FilteredTracks/>")
    experiment = read(text)
    assert len(experiment.annotations) == 3
    assert "rejected-tracks" in codes(experiment)
    assert not len(read(text, only_kept_tracks=True).annotations)


def test_spots_without_tracks_stay(read):
    text = document(tracks="<AllTracks/>", kept="<FilteredTracks/>")
    assert len(read(text, only_kept_tracks=True).annotations) == 3


@pytest.mark.parametrize(
    ("unit", "voxel"),
    [
        ("µm", 0.5),
        ("μm", 0.5),
        ("um", 0.5),
        ("micron", 0.5),
        ("microns", 0.5),
        ("Micron", 0.5),
        ("micrometer", 0.5),
        ("micrometre", 0.5),
        ("\\u00B5m", 0.5),
        ("mm", 500),
        ("nm", 0.0005),
    ],
)
def test_units_in_every_spelling(read, unit, voxel):
    experiment = read(document(unit=unit))
    assert experiment.annotations.positions[0] == pytest.approx([2, 8, 2])
    assert experiment.voxel_size_um[2] == pytest.approx(voxel)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "px", ""])
def test_pixels_are_not_divided(read, unit):
    assert read(document(unit=unit)).annotations.positions[0].tolist() == [4, 2, 1]


def test_an_unknown_unit_is_in_the_calibration_too(read):
    experiment = read(document(unit="parsec"))
    assert experiment.annotations.positions[0].tolist() == [2, 8, 2]
    assert experiment.voxel_size_um is None
    assert "unknown-unit" in codes(experiment)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("sec", 300),
        ("s", 300),
        ("min", 18000),
        ("minutes", 18000),
        ("h", 1080000),
        ("ms", 0.3),
        ("frame", None),
        ("frames", None),
    ],
)
def test_time_units(read, time, seconds):
    interval = read(document(time=time)).frame_interval_s
    assert interval == (None if seconds is None else pytest.approx(seconds))


def test_a_plane_distance_of_0_is_a_flat_movie(read):
    experiment = read(document(image=IMAGE.replace('voxeldepth="2.0"', 'voxeldepth="0.0"')))
    assert experiment.voxel_size_um == (0.5, 0.25, 0.5)


@pytest.mark.parametrize("version", ["3.8.0", "4.0.1", "5.2.0", "6.0.3", "7.0.5-SNAPSHOT", "8.1"])
@pytest.mark.parametrize("order", ["spots first", "tracks first"])
def test_versions_and_element_orders(read, version, order):
    annotations = read(document(version=version, order=order)).annotations
    assert len(annotations) == 3
    assert len(annotations.links) == 2


def test_a_file_without_calibration_uses_what_the_person_says(read):
    text = document(
        image=IMAGE.replace('pixelwidth="0.5" pixelheight="0.25"', 'pixelwidth="0" pixelheight="0"')
    )
    assert "unknown-voxel-size" in codes(read(text))
    annotations = read(text, voxel_size_um=(2.0, 0.25, 0.5)).annotations
    assert annotations.positions[0].tolist() == [2, 8, 2]


def test_a_file_without_settings(read):
    assert len(read(document(image=None)).annotations) == 3


def test_spots_take_their_frame_from_around_them(read):
    assert read(document(spots=SPOTS.replace('FRAME="3"', ""))).annotations.t.tolist() == [0, 1, 3]


def test_the_persons_voxel_size_does_not_move_the_spots(read):
    experiment = read(voxel_size_um=(9.0, 9.0, 9.0))
    assert experiment.annotations.positions[0].tolist() == [2, 8, 2]
    assert experiment.voxel_size_um == (9.0, 9.0, 9.0)


def test_links_to_spots_that_are_not_there_are_left_out(read):
    experiment = read(document(spots=SPOTS.replace('ID="13"', 'ID="99"')))
    assert len(experiment.annotations.links) == 1
    assert "unknown-spot" in codes(experiment)


def test_the_movie_beside_the_file_is_found(read, tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((6, 16, 64, 64), np.uint8),
        imagej=True,
        metadata={"axes": "TZYX"},
    )
    experiment = read(find_images=True)
    assert experiment.images.frame_shape == (16, 64, 64)
    assert "images-missing" not in codes(experiment)


def test_a_missing_movie_is_said_with_its_place(read):
    experiment = read(find_images=True)
    (finding,) = [one for one in experiment.findings if one.code == "images-missing"]
    assert "a.tif" in finding.message
    assert experiment.images is None


@pytest.mark.parametrize("named", ['filename="None" folder="None"', 'filename="" folder=""'])
def test_a_file_that_names_no_movie_misses_none(read, named):
    """As Ultrack writes it, with sizes of 0."""
    image = f'{named} width="0" height="0" nslices="0" nframes="0" pixelwidth="1.0" '
    text = document(
        image=image + 'pixelheight="1.0" voxeldepth="1.0" timeinterval="1.0"',
        spots=SPOTS.replace(' QUALITY="-1"', ""),
        order="tracks first",
        unit="pixels",
        time="frames",
    )
    experiment = read(text, find_images=True)
    assert experiment.annotations.positions[0].tolist() == [4, 2, 1]
    assert (experiment.voxel_size_um, experiment.frame_interval_s) == (None, None)
    assert codes(experiment) == ["hidden-spots"]


def test_a_merge_of_tracks(read):
    tracks = TRACKS.replace("</Track>", '<Edge SPOT_SOURCE_ID="10" SPOT_TARGET_ID="13"/></Track>')
    links = read(document(tracks=tracks)).annotations.links
    assert sorted(map(tuple, links.tolist())) == [(0, 1), (0, 2), (1, 2)]


AFFINE = "<ViewTransform type='affine'><affine>{}</affine></ViewTransform>"


def bdv(*registrations):
    views = "".join(
        f'<ViewRegistration timepoint="{t}" setup="0">{"".join(AFFINE.format(a) for a in affines)}'
        "</ViewRegistration>"
        for t, affines in registrations
    )
    return (
        "<SpimData><SequenceDescription><ViewSetups><ViewSetup><id>0</id><voxelSize><unit>um</unit>"
        "<size>9 9 9</size></voxelSize></ViewSetup></ViewSetups></SequenceDescription>"
        f"<ViewRegistrations>{views}</ViewRegistrations></SpimData>"
    )


def test_mamut_positions_go_through_the_affine_maps_never_the_voxel_size(read, tmp_path):
    same = "0.5 0 0 0 0 0.25 0 0 0 0 2 0"
    # at the second time point the sample has drifted; the maps are multiplied in their order
    drifted = ["1 0 0 10 0 1 0 20 0 0 1 0", same]
    (tmp_path / "bdv.xml").write_text(bdv((0, [same]), (1, drifted)))
    experiment = read(document(image=IMAGE.replace("a.tif", "bdv.xml")), hidden_spots=True)
    positions = experiment.annotations.positions
    assert positions[0].tolist() == [2, 8, 2]
    assert positions[1].tolist() == [2, (2.0 - 20) / 0.25, (1.5 - 10) / 0.5]
    assert positions[3].tolist() == [3, 10, 4]  # no map of its own: the first one's
    assert experiment.voxel_size_um == (2.0, 0.25, 0.5)


def test_an_absurd_map_states_no_voxel_size(read, tmp_path):
    (tmp_path / "bdv.xml").write_text(bdv((0, ["1e308 0 0 0 0 1e308 0 0 0 0 1 0"])))
    assert read(document(image=IMAGE.replace("a.tif", "bdv.xml"))).voxel_size_um is None


@pytest.mark.parametrize("affine", ["0 0 0 0 0 0 0 0 0 0 0 0", "1 2 3", "a", "nan " * 12])
def test_maps_that_can_not_be_inverted_are_refused(read, tmp_path, affine):
    (tmp_path / "bdv.xml").write_text(bdv((0, [affine])))
    with pytest.raises(CellTrainError, match=r"bdv\.xml"):
        read(document(image=IMAGE.replace("a.tif", "bdv.xml")))


def test_the_first_release_is_the_first_that_opens(tmp_path):
    path = tmp_path / "old.xml"
    path.write_text("<TrakMate version='0.9'><AllSpots/></TrakMate>")
    assert format_of(path) is not None
    with pytest.raises(CellTrainError, match="before its first release"):
        read_experiments(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[:-40], "line"),
        (lambda text: text.replace("AllSpots", "NoSpots"), "no AllSpots"),
        (lambda text: text.replace('ID="11" Q', 'ID="10" Q'), "same ID"),
        (lambda text: text.replace('POSITION_X="1.0"', 'POSITION_X="one"'), "one"),
        (lambda text: text.replace('POSITION_X="1.0"', ""), "POSITION_X"),
        (
            lambda text: text.replace('rame="0"', 'rame="0.5"').replace('RAME="0"', 'RAME="0.5"'),
            "time point 0",
        ),
        (lambda text: text.replace("<TrackMate", "<!DOCTYPE a><TrackMate"), "document type"),
        (lambda text: text.replace("<Log>", "<a>" * 200), "nested"),
    ],
)
def test_damaged_files_are_refused_with_a_reason(read, change, sentence):
    with pytest.raises(CellTrainError, match=sentence):
        read(change(document()))


def test_entities_that_expand_without_end_are_never_expanded(tmp_path):
    path = tmp_path / "laughs.xml"
    entities = '<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    body = document().split("\n", 1)[1].replace("x<", "&j;<")
    path.write_text(f"<!DOCTYPE x [{entities}]>{body}")
    with pytest.raises(CellTrainError, match="document type"):
        read_experiments(path, format_name="TrackMate XML")


def test_utf_16(read):
    text = document().replace("UTF-8", "UTF-16")
    assert len(read(text, encoding="utf-16").annotations) == 3


def test_written_files_have_what_the_original_reader_asks_for(tmp_path):
    images = ArraySource(np.zeros((3, 4, 30, 40), np.uint8), "tzyx", voxel_size_um=(2.0, 0.5, 0.5))
    annotations = Annotations(
        [0, 1],
        [[1, 2, 3], [1, 2, 4]],
        [[0, 1]],
        features={
            "score": np.array([0.5, np.nan]),
            "label": np.array(['<"&\x00\ud800é', ""], object),
        },
    )
    path = tmp_path / "out.xml"
    write_experiment(path, Experiment("a", annotations, images))
    text = path.read_text("utf-8")
    assert 'spatialunits="µm"' in text  # OrganoidTracker takes no other spelling
    assert 'width="40" height="30" nslices="4" nframes="3"' in text
    assert 'QUALITY="-1.0"' in text
    (read,) = read_experiments(path)
    assert read.annotations.positions.tolist() == annotations.positions.tolist()
    assert read.annotations.features["label"].tolist() == ['<"&é', "ID1"]


def test_a_written_file_names_its_movie(tmp_path):
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(
        movie, np.zeros((2, 4, 20, 30), np.uint8), imagej=True, metadata={"axes": "TZYX"}
    )
    (tmp_path / "a.csv").write_text("t,z,y,x\n0,1,2,3\n")
    (experiment,) = read_experiments(tmp_path / "a.csv", images=movie)
    (tmp_path / "elsewhere").mkdir()
    write_experiment(tmp_path / "elsewhere" / "out.xml", experiment)
    (read,) = read_experiments(tmp_path / "elsewhere" / "out.xml")
    assert read.images.frame_shape == (4, 20, 30)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("<TrackMate version='7'/>", True),
        ("<!-- a\n comment --><?xml-stylesheet?>\n <TrackMate/>", True),
        ("<SpimData/>", False),
        ("<svg/>", False),
        ("TrackMate", False),
        ("", False),
        ("<root><TrackMate/></root>", False),
    ],
)
def test_other_peoples_xml_is_declined(tmp_path, text, ours):
    (tmp_path / "a.xml").write_text(text)
    assert (format_of(tmp_path / "a.xml") is not None) == ours
