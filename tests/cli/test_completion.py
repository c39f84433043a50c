"""``celltrain completion``."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from napari_celltrain.cli import main, parser

ASK = """
source {script}
COMP_WORDS=(celltrain {words})
COMP_CWORD={place}
_celltrain
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def complete(script, *words):
    text = ASK.format(script=script, words=" ".join(f"'{w}'" for w in words), place=len(words))
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_files(tmp_path, capsys, monkeypatch):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)
    assert complete(script, "tr") == ["train"]
    assert set(complete(script, "")) >= set(parser.COMMANDS)
    assert "--threshold" in complete(script, "predict", "--")
    assert complete(script, "train", "--res") == ["--resume"]
    monkeypatch.chdir(tmp_path)
    assert complete(script, "train", "comp") == ["completion.sh"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in parser.COMMANDS)
