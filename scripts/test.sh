#!/usr/bin/env bash
# Sets up .venv and passes the checks: style, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh testing,dev
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
# two at a time, a file never divided: many tests wait for other processes, and files share fixtures
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
