#!/usr/bin/env bash
# From nothing to detected cells: sets up .venv, makes a sample movie, trains on it for a minute,
# finds the cells in it, and prints how many of them are right.
#
#   bash scripts/quickstart.sh [FOLDER]     default: quickstart
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:-quickstart}"

# before the set-up, which takes minutes
if [ -e "$folder" ]; then
  echo "$folder is already there; remove it or name another folder." >&2
  exit 1
fi

bash scripts/setup.sh "${CELLTRAIN_EXTRAS:-all}"
celltrain=.venv/bin/celltrain

step() { printf '\n== %s\n' "$1"; }

step "A sample movie: nuclei that move and divide"
$celltrain sample "$folder/sample"
step "What is annotated"
$celltrain count "$folder/sample/dataset.toml"
step "Training, ${MINUTES:-1} min"
$celltrain train "$folder/sample/dataset.toml" --out "$folder/run" --minutes "${MINUTES:-1}"
step "Finding the cells"
$celltrain predict "$folder/run" "$folder/sample/dataset.toml" --out "$folder/cells"
step "How good is it, on frames it never saw?"
$celltrain evaluate "$folder/run" "$folder/sample/dataset.toml"
echo
echo "The detected cells are in $folder/cells. To look at all of it: .venv/bin/napari"
