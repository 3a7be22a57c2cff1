"""`python -m service.rules_page`: writes docs/rules.md, what is looked at before a deploy.

`--check` writes nothing and fails if the page is not what the code says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from service.preflight import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.preflight import Rule

PAGE = Path(__file__).parent.parent / "docs/rules.md"

HEAD = """\
<!-- Made by `python -m service.rules_page`. Change the code, then run that; CI runs it with --check. -->

# Rules before a deploy

`pulumi preview` and `pulumi up` look at these {total} rules before anything is built or deployed. An error refuses;
a warning is shown, and all goes on. What a rule says begins with the property's path and ends with the rule's number.

A service may break a rule where it says why. The preview then shows the rule as silenced, with the reason:

```yaml
silence: {{CS011: "the second type is for nights only"}}
```

What a stack file cannot hold at all is refused before that, also with its path: unknown keys, a GPU type that Modal
does not have (with the nearest name), a Hugging Face repository without the commit, a `scaledown_window` outside 2 s
to 20 min.
"""


def page() -> str:
    """The page, from the rules that there are."""
    overview = ["| rule | | asks for |", "|---|---|---|", *map(_row, RULES)]
    parts = [line for rule in RULES for line in _part(rule)]
    return "\n".join([HEAD.format(total=len(RULES)), *overview, *parts]) + "\n"


def _row(rule: Rule) -> str:
    return f"| [{rule.number}](#{rule.number.lower()}) | {rule.severity} | {rule.demand} |"


def _part(rule: Rule) -> Iterator[str]:
    yield f"\n## {rule.number}\n"
    yield f"{rule.severity.capitalize()}, `{rule.where}`: {rule.demand}.\n"
    yield f"Why: {rule.why}\n"
    yield f"What to do: {rule.remedy}"


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.rules_page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is stale, and leave it")
    current = page()
    if not parser.parse_args().check:
        PAGE.write_text(current, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != current:
        sys.stderr.write(f"{PAGE.name} is stale. Run `python -m service.rules_page` and commit the page.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
