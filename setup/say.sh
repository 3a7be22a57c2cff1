# Sourced: how every step of the set-up speaks.
say() { printf '==> %s\n' "$*"; }
done_already() { printf '  ok %s\n' "$*"; }

# quietly COMMAND...: its output only if it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log"
    say "Failed: $*"
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
