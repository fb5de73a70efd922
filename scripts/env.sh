# Sourced by the commands at the top of the tree: makes .venv from a lock file, again whenever the lock changes.

find_python() {
  for name in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    [ -n "$name" ] || continue
    if "$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$name"
      return
    fi
  done
  echo "threat-cloud: needs Python 3.11 or newer with its venv module; set PYTHON=/path/to/python3 if it has another name" >&2
  exit 1
}

# make_environment ROOT LOCK: the stamp holds the checksum of the lock last installed. The development lock
# contains all of the other, so an environment made for the tests also serves.
make_environment() {
  stamp="$1/.venv/.installed-$2"
  wanted=$(cksum "$1/$2" "$1/pyproject.toml" | cut -d' ' -f1,2 | tr '\n' ' ')
  for made in "$stamp" "$1/.venv/.installed-requirements-dev.lock"; do
    [ -f "$made" ] && [ "$(cat "$made")" = "$(cksum "$1/${made##*.installed-}" "$1/pyproject.toml" | cut -d' ' -f1,2 | tr '\n' ' ')" ] && return
  done
  echo "threat-cloud: making the environment in .venv (once, about a minute) ..." >&2
  [ -x "$1/.venv/bin/python" ] || "$(find_python)" -m venv "$1/.venv"
  "$1/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1/$2" >&2
  "$1/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$1" >&2
  printf '%s' "$wanted" >"$stamp"
}
