# Sourced: how every step of the set-up speaks.
say() { printf '==> %s\n' "$*"; }
done_already() { printf '  ok %s\n' "$*"; }
