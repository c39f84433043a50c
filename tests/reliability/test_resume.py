"""A run that was stopped or killed and resumed ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path  # noqa: TC003

import pytest
import torch
from safetensors import safe_open

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.compute import choose_arithmetic
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations
from napari_celltrain.files import TEMPORARY_PREFIX
from napari_celltrain.formats.registry import write_experiment
from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.control import Control
from napari_celltrain.training.evaluations import Evaluations
from napari_celltrain.training.events import (
    Choice,
    Evaluation,
    FindingEvent,
    Finished,
    HeldOutErrors,
    Preparing,
    StateChanged,
    Step,
)
from napari_celltrain.training.learner import Learner
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings
from napari_celltrain.training.standing import Standing

STEPS = 30


@pytest.fixture(scope="module")
def settings(fast_settings) -> TrainingSettings:
    """A run of a second or two, most of it start and evaluation."""
    values = fast_settings.model_dump()
    values["budget"]["steps"] = STEPS
    values["design"]["width"] = 4
    values["optimiser"].update(crop_size=32, batch_size=2)
    return TrainingSettings.from_dict(values)


@pytest.fixture(scope="module")
def dataset(make_blobs) -> Dataset:
    return Dataset((Member(make_blobs(times=6, shape=(1, 48, 48), cells=5)),))


def digest(run: Path) -> str:
    """SHA-256 over everything that training has computed: weights, average, optimiser."""
    newest = sorted((run / "checkpoints").glob("step-*.safetensors"))[-1]
    total = hashlib.sha256()
    with safe_open(str(newest), "pt") as file:
        for key in sorted(file.keys()):
            total.update(key.encode())
            total.update(file.get_tensor(key).numpy().tobytes())
    for weights in sorted((run / "best").glob("*.safetensors")):
        total.update(weights.read_bytes())
    return total.hexdigest()


def check_history(run: Path) -> None:
    """Nothing is missing, nothing is told twice."""
    history = RunFolder(run).read_history()
    lines = (run / "history.jsonl").read_bytes().splitlines()
    assert len(lines) == len(history), "a line that is no event"
    steps = [event.step for event in history if isinstance(event, Step)]
    assert steps == sorted(set(steps))
    evaluations = [event.step for event in history if isinstance(event, Evaluation)]
    assert evaluations == sorted(set(evaluations))
    assert sum(isinstance(event, Finished) for event in history) == 1
    assert isinstance(history[-1], Finished)
    findings = [event.finding for event in history if isinstance(event, FindingEvent)]
    assert len(findings) == len(set(findings))


@pytest.fixture(scope="module")
def uninterrupted(dataset, settings, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    train(dataset, run, settings)
    check_history(run)
    return run


def test_the_same_seed_gives_the_same_weights(dataset, settings, uninterrupted, tmp_path):
    train(dataset, tmp_path / "run", settings)
    assert digest(tmp_path / "run") == digest(uninterrupted)


def test_another_seed_gives_other_weights(dataset, settings, uninterrupted, tmp_path):
    other = settings.changed(["compute.seed=7"])
    train(dataset, tmp_path / "run", other)
    assert digest(tmp_path / "run") != digest(uninterrupted)


@pytest.fixture
def first_is_best(monkeypatch):
    """No evaluation is better than the first."""
    add = Standing.add

    def only_the_first(standing, verdict, step, *more):
        if standing.best_step:
            standing.best_f1 = 2.0  # out of reach
        return add(standing, verdict, step, *more)

    monkeypatch.setattr(Standing, "add", only_the_first)


def test_a_run_without_a_budget_does_not_go_by_the_clock(
    dataset, settings, tmp_path, monkeypatch, first_is_best
):
    """Which detector is kept, and where it stops improving, follow from when it is judged."""
    values = settings.model_dump()
    values["budget"].update(steps=None, patience=2)
    settings = TrainingSettings.from_dict(values)
    train(dataset, tmp_path / "fast", settings)
    learn, judge = Learner.learn, Evaluations.judge

    def slow(self, *arguments):
        time.sleep(0.002)
        return learn(self, *arguments)

    def slower(self, *arguments):
        time.sleep(0.2)
        return judge(self, *arguments)

    monkeypatch.setattr(Learner, "learn", slow)
    monkeypatch.setattr(Evaluations, "judge", slower)
    assert train(dataset, tmp_path / "slow", settings).reason == "F1 stopped improving"
    assert digest(tmp_path / "slow") == digest(tmp_path / "fast")
    assert _results(tmp_path / "slow") == _results(tmp_path / "fast")


@pytest.mark.parametrize("stops", [(1,), (10,), (25,), (26,), (7, 8, 21), (29,)], ids=str)
def test_stopped_and_resumed_is_bit_for_bit_the_same(
    dataset, settings, uninterrupted, tmp_path, stops, monkeypatch
):
    monkeypatch.setattr("napari_celltrain.training.pace.TELL_EVERY_S", 0.0)
    run = tmp_path / "run"
    for stop in stops:
        control = Control()

        def watch(event, control=control, stop=stop):
            if isinstance(event, Step) and event.step >= stop:
                control.stop()

        finished = train(dataset, run, settings, [watch], control=control, resume=True)
        assert finished.reason == "stopped by the user"
        assert finished.step >= stop
        assert not RunFolder(run).is_finished()
    assert train(dataset, run, settings, resume=True).reason == "steps done"
    assert digest(run) == digest(uninterrupted)
    check_history(run)
    assert _results(run) == _results(uninterrupted)


@pytest.mark.parametrize("planes", [1, 5])
def test_in_bfloat16_it_is_bit_for_bit_the_same_too(
    make_blobs, settings, tmp_path, planes, monkeypatch
):
    if choose_arithmetic(torch.device("cpu"), "bfloat16")[0].precision != "bfloat16":
        pytest.skip("this processor computes wrong gradients in bfloat16, so it is never used here")
    monkeypatch.setattr("napari_celltrain.training.pace.TELL_EVERY_S", 0.0)
    data = Dataset((Member(make_blobs(times=4, shape=(planes, 48, 48), cells=4)),))
    settings = settings.changed(["compute.precision=bfloat16", "budget.steps=8", "design.width=8"])
    for name in ("once", "again"):
        train(data, tmp_path / name, settings)
    control = Control()

    def stop(event):
        if isinstance(event, Step) and event.step >= 3:
            control.stop()

    assert train(data, tmp_path / "parts", settings, [stop], control=control).step < 8
    train(data, tmp_path / "parts", settings, resume=True)
    newest, _ = load_newest(tmp_path / "once" / "checkpoints")
    assert newest is not None
    assert newest.state["precision"] == "bfloat16"  # it did not fall back
    assert digest(tmp_path / "again") == digest(tmp_path / "once")
    assert digest(tmp_path / "parts") == digest(tmp_path / "once")
    train(data, tmp_path / "float32", settings.changed(["compute.precision=float32"]))
    assert digest(tmp_path / "float32") != digest(tmp_path / "once")  # it was computed so


def _results(run: Path) -> list[tuple[float, ...]]:
    """What each evaluation found; only the clock may differ."""
    return [
        (e.step, e.f1, e.precision, e.recall, e.localisation_error_um, e.threshold, e.best)
        for e in RunFolder(run).read_history()
        if isinstance(e, Evaluation)
    ]


def test_a_run_on_unlike_experiments_is_the_same_too(make_blobs, settings, tmp_path, monkeypatch):
    """Each step takes one kind of images; which one, and how wide the peaks are, is kept."""
    small = make_blobs(times=6, shape=(1, 48, 48), cells=8, width=6.0, name="small")
    large = make_blobs(times=6, shape=(6, 48, 48), cells=3, width=16.0, name="large")
    data = Dataset((Member(small), Member(large)))
    settings = settings.changed(["budget.steps=12"])
    monkeypatch.setattr("napari_celltrain.training.pace.TELL_EVERY_S", 0.0)
    train(data, tmp_path / "one", settings)
    for stop in (3, 7):
        control = Control()

        def watch(event, control=control, stop=stop):
            if isinstance(event, Step) and event.step >= stop:
                control.stop()

        train(data, tmp_path / "two", settings, [watch], control=control, resume=True)
    train(data, tmp_path / "two", settings, resume=True)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_paused_and_gone_on_is_the_same(dataset, settings, uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_celltrain.training.pace.TELL_EVERY_S", 0.0)
    control = Control()
    seen = []

    def watch(event):
        seen.append(event)
        if isinstance(event, Step) and event.step == 12:
            control.pause()
        if getattr(event, "state", "") == "paused":
            control.resume()

    train(dataset, tmp_path / "run", settings, [watch], control=control)
    assert any(getattr(event, "state", "") == "paused" for event in seen)
    assert digest(tmp_path / "run") == digest(uninterrupted)


def test_a_larger_budget_goes_on_with_a_finished_run(dataset, settings, tmp_path):
    run = tmp_path / "run"
    first = train(dataset, run, settings)
    before = len([e for e in RunFolder(run).read_history() if isinstance(e, Evaluation)])
    more = train(dataset, run, settings.changed([f"budget.steps={2 * STEPS}"]), resume=True)
    assert (first.step, more.step) == (STEPS, 2 * STEPS)
    assert more.best_f1 >= first.best_f1 - 1e-9
    check_history(run)
    after = [e.step for e in RunFolder(run).read_history() if isinstance(e, Evaluation)]
    assert len(after) > before


class _Killed(BaseException):
    pass


def test_killed_after_an_evaluation_was_told_but_not_yet_saved(
    dataset, settings, uninterrupted, tmp_path
):
    """The checkpoint of the last step is older than the evaluation of it, which is made again."""
    run = tmp_path / "run"
    often = settings.changed(["compute.checkpoint_every_s=0.0001"])

    def watch(event):
        if isinstance(event, HeldOutErrors) and event.step == STEPS:
            raise _Killed

    with pytest.raises(_Killed):
        train(dataset, run, often, [watch])
    assert RunFolder(run).read_history()[-1].step == STEPS
    train(dataset, run, often, resume=True)
    check_history(run)
    assert _results(run) == _results(uninterrupted)


def test_killed_in_an_evaluation_that_was_made_up_for(dataset, settings, uninterrupted, tmp_path):
    """Stopped in an evaluation, resumed, and killed when that evaluation was told."""
    run = tmp_path / "run"
    control = Control()

    def stop(event):
        if getattr(event, "state", "") == "evaluating":
            control.stop()

    train(dataset, run, settings, [stop], control=control)
    assert not any(isinstance(event, Evaluation) for event in RunFolder(run).read_history())

    def kill(event):
        if isinstance(event, HeldOutErrors):
            raise _Killed

    with pytest.raises(_Killed):
        train(dataset, run, settings, [kill], resume=True)
    train(dataset, run, settings, resume=True)
    check_history(run)
    assert _results(run) == _results(uninterrupted)


def test_an_evaluation_that_was_made_up_for_ends_a_run_like_any_other(
    dataset, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        Standing, "overfitting", lambda standing, loss: "By heart." if standing.best_step else None
    )
    control = Control()

    def stop(event):
        if getattr(event, "state", "") == "evaluating":
            control.stop()

    train(dataset, tmp_path / "run", settings, [stop], control=control)
    finished = train(dataset, tmp_path / "run", settings, resume=True)
    assert (finished.reason, finished.step) == ("overfitting", 25)


@pytest.mark.parametrize(("steps", "few"), [(STEPS, 4), (10, 4), (10, 1)])
def test_stopped_in_the_last_evaluation_it_is_not_finished(dataset, settings, tmp_path, steps, few):
    """It would be a finished run whose last weights nobody judged, or without a detector."""
    run = tmp_path / "run"
    settings = settings.changed([f"budget.steps={steps}", f"data.max_held_out_frames={few}"])
    train(dataset, tmp_path / "whole", settings)
    control = Control()
    looks = 0

    def stop(event):
        nonlocal looks
        looks += getattr(event, "state", "") == "evaluating"
        if looks == 1 + steps // 25:
            control.stop()

    finished = train(dataset, run, settings, [stop], control=control)
    assert finished.reason == "stopped by the user"
    assert not RunFolder(run).is_finished()
    assert train(dataset, run, settings, resume=True).reason == "steps done"
    assert digest(run) == digest(tmp_path / "whole")
    assert _results(run) == _results(tmp_path / "whole")
    check_history(run)


def test_before_frames_are_judged_a_checkpoint_is_there(dataset, settings, tmp_path):
    """Judging large frames takes longer than a cluster waits before it kills."""
    kept = []

    def look(event):
        if isinstance(event, StateChanged) and event.state == "evaluating":
            kept.append(load_newest(tmp_path / "checkpoints")[0])

    train(dataset, tmp_path, settings, [look])
    assert [checkpoint.step for checkpoint in kept] == [25, STEPS]


def test_stopped_while_frames_are_prepared_it_ends_without_a_step(
    dataset, settings, uninterrupted, tmp_path
):
    control, told = Control(), []

    def stop(event):
        told.append(event)
        if isinstance(event, Preparing):
            control.stop("interrupted")

    done = train(dataset, tmp_path, settings, [stop], control=control)
    assert (done.reason, done.step) == ("interrupted", 0)
    assert "resume to go on" in done.sentence
    assert not RunFolder(tmp_path).is_finished()
    assert RunFolder(tmp_path).read_state()["stopped_because"] == "interrupted"
    assert told[-2] == done
    train(dataset, tmp_path, settings, resume=True)
    assert digest(tmp_path) == digest(uninterrupted)


def test_stopped_while_a_resumed_run_is_prepared_it_is_where_it_was(dataset, settings, tmp_path):
    first = train(dataset, tmp_path, settings)
    control = Control()
    control.stop()
    more = settings.changed([f"budget.steps={STEPS + 5}"])
    done = train(dataset, tmp_path, more, control=control, resume=True)
    assert (done.step, done.reason) == (first.step, "stopped by the user")
    assert done.best_f1 == pytest.approx(first.best_f1, abs=1e-6)
    assert done.seconds >= first.seconds - 1
    assert not RunFolder(tmp_path).is_finished()


def test_stopped_while_it_is_calibrated_it_is_finished_all_the_same(dataset, settings, tmp_path):
    run = tmp_path / "run"
    control = Control()

    def stop(event):
        if isinstance(event, Evaluation) and event.step == STEPS:
            control.stop()

    settings = settings.changed(["data.max_held_out_frames=1", "compute.checkpoint_every_s=1000"])
    finished = train(dataset, run, settings, [stop], control=control)
    assert finished.reason == "steps done"
    assert (run / "best" / "detector.json").exists()


def test_stopped_while_the_detector_it_starts_from_is_judged(
    dataset, settings, uninterrupted, tmp_path
):
    """That is made up for: a run never ends up with less than it started from."""
    start = uninterrupted / "best"
    train(dataset, tmp_path / "whole", settings, start_from=start)
    run = tmp_path / "run"
    for _ in range(2):
        control = Control()

        def stop(event, control=control):
            if getattr(event, "state", "") == "evaluating":
                control.stop()

        train(dataset, run, settings, [stop], control=control, start_from=start, resume=True)
    train(dataset, run, settings, resume=True)
    assert [one[0] for one in _results(run)] == [0, 25, STEPS]
    assert _results(run) == _results(tmp_path / "whole")
    assert digest(run) == digest(tmp_path / "whole")


def test_a_run_that_no_longer_improved_is_given_more(dataset, settings, tmp_path, first_is_best):
    run = tmp_path / "run"
    values = settings.model_dump()
    values["budget"] = {"patience": 2}
    first = train(dataset, run, TrainingSettings.from_dict(values))
    assert first.reason == "F1 stopped improving"
    values["budget"] = {"patience": 3}
    more = train(dataset, run, TrainingSettings.from_dict(values), resume=True)
    assert more.step > first.step
    check_history(run)


def test_killed_before_its_settings_were_written_it_begins_again(
    dataset, settings, uninterrupted, tmp_path
):
    run = tmp_path / "run"

    def kill(event):
        if isinstance(event, Choice) and (run / "history.jsonl").exists():
            raise _Killed

    with pytest.raises(_Killed):
        train(dataset, run, settings, [kill])
    assert not (run / "settings.toml").exists()
    train(dataset, run, settings, resume=True)
    assert digest(run) == digest(uninterrupted)
    check_history(run)


def test_the_last_step_is_judged_once_though_it_is_not_the_best(
    dataset, settings, tmp_path, first_is_best
):
    run = tmp_path / "run"
    settings = settings.changed(["budget.steps=50"])
    train(dataset, run, settings)
    check_history(run)
    best = [event.best for event in RunFolder(run).read_history() if isinstance(event, Evaluation)]
    assert best == [True, False]
    train(dataset, run, settings, resume=True)  # nothing is left to do
    check_history(run)


def test_a_damaged_checkpoint_costs_what_came_after_the_one_before(
    dataset, settings, uninterrupted, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    half = settings.changed(["compute.checkpoint_every_s=0.0001"])
    train(dataset, run, half)
    newest = sorted((run / "checkpoints").glob("step-*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    found = []
    train(dataset, run, half, [found.append], resume=True)
    codes = [e.finding.code for e in found if isinstance(e, FindingEvent)]
    assert "damaged-checkpoint" in codes
    assert digest(run) == digest(uninterrupted)


def test_when_every_checkpoint_is_damaged_it_begins_again_and_says_so(
    dataset, settings, uninterrupted, tmp_path
):
    run = tmp_path / "run"
    train(dataset, run, settings)
    for path in (run / "checkpoints").glob("step-*.safetensors"):
        path.write_bytes(b"")
    train(dataset, run, settings, resume=True)
    assert digest(run) == digest(uninterrupted)
    history = RunFolder(run).read_history()
    assert any(isinstance(e, FindingEvent) and "beginning" in e.finding.message for e in history)
    check_history(run)


def test_a_damaged_prepared_frame_is_made_again(dataset, settings, uninterrupted, tmp_path):
    run = tmp_path / "run"
    train(dataset, run, settings)
    prepared = sorted((run / "prepared").glob("*.npy"))
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.unlink()
    prepared[0].write_bytes(prepared[0].read_bytes()[:200])
    prepared[1].write_bytes(b"")
    prepared[2].write_bytes(b"\x80\x04garbage" * 50)
    train(dataset, run, settings, resume=True)
    assert digest(run) == digest(uninterrupted)


def test_changed_annotations_are_noticed_on_resume(dataset, settings, tmp_path):
    run = tmp_path / "run"
    train(dataset, run, settings)
    experiment = dataset.experiments[0]
    annotations = experiment.annotations
    changed = experiment.with_(
        annotations=Annotations(annotations.t, annotations.positions + [0, 1.0, 0])  # noqa: RUF005
    )
    found = []
    more = settings.changed([f"budget.steps={STEPS + 5}"])
    train(Dataset((Member(changed),)), run, more, [found.append], resume=True)
    assert "data-changed" in [e.finding.code for e in found if isinstance(e, FindingEvent)]
    found.clear()
    train(Dataset((Member(changed),)), run, more, [found.append], resume=True)
    assert "data-changed" not in [e.finding.code for e in found if isinstance(e, FindingEvent)]


def test_a_folder_with_other_things_is_left_alone(dataset, settings, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for resume in (False, True):
        with pytest.raises(CellTrainError):
            train(dataset, tmp_path, settings, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# --- kill -9 ---

CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from napari_celltrain.dataset import load_dataset
from napari_celltrain.training.events import CheckpointSaved
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings
print("begin", flush=True)
def tell(event):
    if isinstance(event, CheckpointSaved):
        print("saved", event.step, flush=True)
train(load_dataset(sys.argv[1]), Path(sys.argv[2]), TrainingSettings.from_toml(Path(sys.argv[3])),
      [tell], resume=True)
print("done", flush=True)
"""


def write_to_disk(experiment, settings, folder: Path) -> None:
    """Write data set and settings as files, with a checkpoint after every step."""
    import tifffile

    for t in experiment.images.time_points:
        tifffile.imwrite(folder / f"t{t:03}.tif", experiment.images.read_frame(t)[0])
    write_experiment(folder / "points.csv", experiment)
    (folder / "dataset.toml").write_text(
        '[[experiment]]\nname = "blobs"\nimages = "t{time:03}.tif"\nannotations = "points.csv"\n'
        "voxel_size_um = [1.0, 1.0, 1.0]\n"
    )
    often = settings.changed(["compute.checkpoint_every_s=0.0001"])
    (folder / "settings.toml").write_text(often.to_toml())


@pytest.fixture(scope="module")
def on_disk(dataset, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_to_disk(dataset.experiments[0], settings, folder)
    return folder


def run_and_kill(
    folder: Path, run: Path, rng: random.Random, kills: int, inside: list[Path] | None = None
) -> int:
    """Start, kill at a random moment, and so on until it ends; returns how often it was killed.

    Some kills come while a run begins, others soon after a checkpoint, or in the next. Each start
    goes on from the last complete one. What a kill left half written among the
    checkpoints is added to `inside`.
    """
    done = kept = 0
    for _ in range(kills * 20 + 1):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                CHILD,
                str(folder / "dataset.toml"),
                str(run),
                str(folder / "settings.toml"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.readline()
        if output == "begin\n" and done < kills:
            # seconds go by before the first step: many a kill has to wait until something is saved
            checkpoints = rng.choice((0, 1, 2, 3))
            while output.count("saved ") < checkpoints and (line := process.stdout.readline()):
                output += line
            time.sleep(rng.uniform(0, 0.04 if checkpoints else 1.2))
            process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate()
        output += rest
        saved = [int(line.split()[1]) for line in output.splitlines() if line.startswith("saved ")]
        assert all(step >= kept for step in saved[:1]), "it began before its last checkpoint"
        if process.returncode == 0:
            assert "done" in output
            return done
        assert process.returncode == -signal.SIGKILL, errors
        done += 1  # noqa: SIM113
        newest, damaged = load_newest(run / "checkpoints")
        assert not damaged
        now = 0 if newest is None else newest.step
        assert now >= max([kept, *saved]), "a checkpoint that was complete is gone"
        kept = now
        if inside is not None:
            inside += (run / "checkpoints").glob(TEMPORARY_PREFIX + "*")
    raise AssertionError("it never ended")


def kill_and_compare(
    on_disk: Path,
    plain: Path,
    run: Path,
    seed: int,
    kills: int,
    inside: list[Path] | None = None,
) -> int:
    """Kill a run up to so many times; it ends like the plain one. Returns how often it was."""
    killed = run_and_kill(on_disk, run, random.Random(seed), kills, inside)
    assert digest(run) == digest(plain)
    check_history(run)
    assert not list(run.rglob(TEMPORARY_PREFIX + "*"))
    assert len(list((run / "best").iterdir())) == 2
    assert len(list((run / "checkpoints").iterdir())) <= 2
    return killed


@pytest.fixture(scope="module")
def plain(on_disk, tmp_path_factory) -> Path:
    """A run of the same, never killed."""
    run = tmp_path_factory.mktemp("plain") / "run"
    assert run_and_kill(on_disk, run, random.Random(0), 0) == 0
    return run


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_killed_at_random_moments_it_ends_the_same(on_disk, plain, tmp_path):
    assert kill_and_compare(on_disk, plain, tmp_path / "run", seed=1, kills=3) >= 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.timeout(3600)
def test_killed_a_hundred_times_it_ends_the_same(on_disk, plain, tmp_path):
    killed, number = 0, 0
    while killed < 100:
        killed += kill_and_compare(on_disk, plain, tmp_path / str(number), seed=number, kills=20)
        number += 1
