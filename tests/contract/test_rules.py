"""What holds of every rule, those of benchmarks too: it says what it needs, and nothing of where it runs."""

from __future__ import annotations

import re

import pytest

from ..project import ROOT

RESOURCES = {"gpu", "mem_mb", "runtime", "disk_mb"}
"""What any cluster has; partitions, accounts and models of GPUs stand in profiles."""
OF_SEEDS = r'^ +batch\.rule\("(\w+)"'
"""Where a rule that there is one of for each list of seeds says its name."""
RULES = {
    f"{file.parent.name}/{file.name}: {name or ''.join(re.findall(OF_SEEDS, text, re.M)) or 'draw_<figure>'}": text
    for file in sorted((ROOT / "workflow").rglob("*.smk"))
    for name, text in re.findall(
        r"^ *rule ?(\w*):\n((?:(?! *rule\b).*\n?)*)", re.sub(r'""".*?"""', "", file.read_text(), flags=re.S), re.M
    )
}
every_rule = pytest.mark.parametrize("rule", RULES)


def test_every_rule_is_found() -> None:
    found = sum(len(re.findall(r"^ *rule\b", file.read_text(), re.M)) for file in (ROOT / "workflow").rglob("*.smk"))
    assert len(RULES) == found > 10


@every_rule
def test_it_leaves_a_log_and_has_an_environment(rule: str) -> None:
    assert re.search(r"^ +log:\n", RULES[rule], re.M)
    assert re.search(r"^ +conda:\n", RULES[rule], re.M)


@every_rule
def test_it_asks_for_what_any_machine_has_alone(rule: str) -> None:
    (resources,) = re.findall(r"^ +resources:\n((?: +\w+=.*\n)+)", RULES[rule], re.M) or [""]
    assert set(re.findall(r"(\w+)=", resources)) <= RESOURCES
    assert not re.search(r"slurm|\b(partition|account|qos|constraint|nodelist|home|scratch)\b", RULES[rule])


@every_rule
def test_it_says_how_many_threads_it_uses(rule: str) -> None:
    """And hands them on, if its command takes them; without a word a rule has one."""
    threads = re.findall(r"^ +threads: (\S+)", RULES[rule], re.M)
    assert "{threads}" not in RULES[rule] or threads
    assert threads or "am train" not in RULES[rule]
