"""A rule with its evidence, and the validation of all rules, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phi3kit.report.terminal_advice import open_console, put


def print_rule(rule: Mapping[str, Any]) -> None:
    """Show a rule: what it says, what it adds when, and every case for and against."""
    console = open_console()
    put(console, rule["id"], style="bold")
    put(console, rule["statement"], indent="  ")
    put(console, f"source: {rule['source']}; weight {rule['weight']:g}", indent="  ")
    put(console, "Adds, the first line that holds", style="bold")
    if not rule["grades"]:
        put(console, "nothing to the options; it chooses how a model is tuned", indent="  ")
    for grade in rule["grades"]:
        adds = "  ".join(f"{o} {e:+.2f}" for o, e in grade["effects"].items() if e) or "nothing"
        put(console, f"{', '.join(grade['when'])}: {adds}", indent="  ")
    for side in ("for", "against"):
        if rule[side]:
            put(console, f"Cases {side}", style="bold")
        for case in rule[side]:
            put(console, f"{case['in_short']} (won: {case['winner']}; figures: "
                f"{case['figures']})", indent="  ")
            put(console, case["scenario"], indent="    ")
            put(console, f"{case['source']}, {case['year']}", indent="    ")
            put(console, case["url"], indent="    ", whole=True)
            if case["caveat"]:
                put(console, f"caveat: {case['caveat']}", indent="    ")


def print_validation(result: Mapping[str, Any]) -> None:
    """Show accuracy and coverage of the rules, what was tried instead, and the confusion."""
    console = open_console()
    rules = result["rules"]
    put(console, f"{result['cases']} published cases of {result['studies']} studies; right: the "
        "recommendation is acceptable",
        style="bold")
    put(console, result["note"], indent="  ")
    rows = [("these rules, held-out studies", rules)]
    rows += [(f"  {name} among them", row) for name, row in result["by_round"].items()]
    rows += [("weights fitted, in-sample", result["in_sample"]),
             ("all weights 1, in-sample", result["unfitted"])]
    rows += [(f"fitted, {name}, held-out studies", row)
             for name, row in result["fitted_cross_validated"].items()]
    rows += [("effects cut to their signs, in-sample", result["only_the_signs"])]
    rows += [(f"signs, sizes fitted, {name}, held-out", row)
             for name, row in result["signs_fitted_cross_validated"].items()]
    rows += list(result["baselines"].items())
    for name, row in rows:
        loss = f"  log loss {row['log_loss']:.3f}" if "log_loss" in row else ""
        put(console, f"{name:<40} {row['accuracy']:>4.0%}{loss}", indent="  ", whole=True)
    put(console, f"decided in {rules['decided']:.0%}, right in {rules['accuracy_decided']:.0%} "
        "of those", indent="  ")
    put(console, "Published winner (rows) against recommendation (columns)", style="bold")
    options = list(result["confusion"])
    put(console, " " * 10 + "".join(f"{o:>10}" for o in options), indent="  ", whole=True)
    for winner, row in result["confusion"].items():
        put(console, f"{winner:<10}" + "".join(f"{row[o]:>10}" for o in options), indent="  ",
            whole=True)
    put(console, "Wrong", style="bold")
    for miss in result["wrong"]:
        put(console, f"{miss['case']}: said {miss['said']} (margin {miss['margin']:.2f}), "
            f"acceptable {' or '.join(miss['acceptable'])}", indent="  ")
