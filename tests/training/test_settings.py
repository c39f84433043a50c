"""Settings are checked where they come in, and a refusal is a sentence that names the setting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.settings import TrainingSettings

NONSENSE = [
    ("budget.minutes=0", "budget.minutes"),
    ("budget.minutes=-3", "budget.minutes"),
    ("budget.minutes=nan", "budget.minutes"),
    ("budget.minutes=inf", "budget.minutes"),
    ("budget.minutes=soon", "budget.minutes"),
    ("budget.steps=1.5", "budget.steps"),
    ("budget.steps=0", "budget.steps"),
    ("budget.patience=1", "budget.patience"),
    ("design.time_window=[1, 2]", "design.time_window"),
    ("design.time_window=[0]", "design.time_window"),
    ("design.time_window=3", "design.time_window"),
    ("design.diameter_um=0", "design.diameter_um"),
    ("design.width=1000000", "design.width"),
    ("optimiser.learning_rate=5", "optimiser.learning_rate"),
    ("optimiser.batch_size=0", "optimiser.batch_size"),
    ("optimiser.crop_size=3", "optimiser.crop_size"),
    ("optimiser.ema=1", "optimiser.ema"),
    ("augmentation.flip=perhaps", "augmentation.flip"),
    ("augmentation.strength=9", "augmentation.strength"),
    ("compute.device=tpu", "compute.device"),
    ("compute.seed=-1", "compute.seed"),
    ("compute.threads=0", "compute.threads"),
    ("data.held_out_share=1", "data.held_out_share"),
    ("budget.hours=1", "budget.hours"),
    ("magic.wand=1", "magic.wand"),
    ("minutes=1", "section.key=value"),
    ("budget.minutes", "section.key=value"),
    (".=1", "section.key=value"),
    ("", "section.key=value"),
    ("budget.steps=" + "9" * 5000, "budget.steps"),
    ("budget.steps=" + "[" * 5000, "budget.steps"),
]


@pytest.mark.parametrize(("assignment", "named"), NONSENSE, ids=[a[:40] for a, _ in NONSENSE])
def test_nonsense_is_refused_in_a_sentence(assignment, named):
    with pytest.raises(CellTrainError) as error:
        TrainingSettings().changed([assignment])
    message = str(error.value)
    assert named in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("assignment", "section", "key", "value"),
    [
        ("budget.minutes=5", "budget", "minutes", 5.0),
        ("budget.minutes =  0.5 ", "budget", "minutes", 0.5),
        ("budget.minutes=", "budget", "minutes", None),
        ("budget.minutes=none", "budget", "minutes", None),
        ("compute.device=cpu", "compute", "device", "cpu"),
        ("compute.device='auto'", "compute", "device", "auto"),
        ("compute.device=auto", "compute", "device", "auto"),
        ("augmentation.flip=false", "augmentation", "flip", False),
        ("design.time_window=[-1, 1]", "design", "time_window", (-1, 1)),
    ],
)
def test_an_assignment_is_understood(assignment, section, key, value):
    changed = TrainingSettings().changed([assignment])
    assert getattr(getattr(changed, section), key) == value


@given(
    minutes=st.none() | st.floats(0.001, 1e5),
    steps=st.none() | st.integers(1, 10**8),
    window=st.tuples(st.integers(-5, 0), st.integers(0, 5)),
    flip=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
def test_written_and_read_settings_are_the_same(
    tmp_path_factory, minutes, steps, window, flip, seed
):
    settings = TrainingSettings.from_dict(
        {
            "budget": {"minutes": minutes, "steps": steps},
            "design": {"time_window": window},
            "augmentation": {"flip": flip},
            "compute": {"seed": seed},
        }
    )
    path = tmp_path_factory.mktemp("settings") / "settings.toml"
    path.write_text(settings.to_toml(), "utf-8")
    assert TrainingSettings.from_toml(path) == settings


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"budget = 3",
        b"[budget]\nminutes = 'x'",
        b"\xff\xfe",
        b"[" * 100_000,
        b"a = " + b"[" * 9999,
        b"[budget]\nsteps = " + b"9" * 10_000,
        b"x = 1",
        b"[budget]\nminutes = 1e999",
        b"\x00",
        b"[budget]\n[budget]",
        b"a.b.c.d = 1",
        b"[compute]\nseed = 0x" + b"f" * 100,
    ],
    ids=range(13),
)
def test_a_hostile_file_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    try:
        TrainingSettings.from_toml(path)
    except CellTrainError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert len(str(error)) < 600  # noqa: PT017
    else:
        assert content == b""


def test_an_enormous_file_is_not_read(tmp_path):
    path = tmp_path / "settings.toml"
    with open(path, "wb") as file:
        file.truncate(2**34)  # sparse: sixteen gigabytes that take no room
    with pytest.raises(CellTrainError, match="too large"):
        TrainingSettings.from_toml(path)


def test_a_missing_file_and_a_folder_are_sentences(tmp_path):
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(CellTrainError, match="can't be read"):
            TrainingSettings.from_toml(path)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("augmentation.strenght=1", "augmentation.strength"), ("budget.minute=1", "budget.minutes")],
)
def test_a_misspelled_setting_is_answered_with_the_one_meant(wrong, meant, tmp_path):
    with pytest.raises(CellTrainError, match=f"is '{meant}' meant"):
        TrainingSettings().changed([wrong])
    section, key = wrong.removesuffix("=1").split(".")
    (tmp_path / "settings.toml").write_text(f"[{section}]\n{key} = 1\n", "utf-8")
    with pytest.raises(CellTrainError, match=f"is '{meant}' meant"):
        TrainingSettings.from_toml(tmp_path / "settings.toml")
