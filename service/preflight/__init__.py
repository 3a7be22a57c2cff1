"""Rules that refuse or warn before anything is deployed, while it still costs nothing: docs/rules.md lists them."""

from service.preflight.rule import Finding, Machine, Rule, Severity
from service.preflight.table import RULES, findings

__all__ = ["RULES", "Finding", "Machine", "Rule", "Severity", "findings"]
