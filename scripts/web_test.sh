#!/usr/bin/env bash
# Tests the server's page in a headless browser: installs Chromium (Debian 12) and Playwright for Python (PyPI, without
# browsers of its own, into build/web-venv) where they are missing, and runs tests/web_page_test.py with the release build.
#
#   scripts/web_test.sh [--screenshots DIR] [TEST...]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_deps.sh --web
venv=build/web-venv
requirement=playwright==1.65.2
if [[ "$(cat "$venv/installed" 2>/dev/null)" != "$requirement" ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$requirement"
  echo "$requirement" >"$venv/installed"
fi
[[ -x build/release/tessera ]] || scripts/build.sh release tessera
exec "$venv/bin/python" tests/web_page_test.py --program build/release/tessera "$@"
