"""The status in Prometheus's text format."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from statuses import RUN, a_status, client

from peer.status.peer_status import PeerStatus
from peer.web.prometheus import exposition
from protocol.records.bodies import Role
from protocol.status.role_status import Answers, Doing, Kept, Lack, Recomputation, Wait

SAMPLE = re.compile(r'[a-z_]+(\{([a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? [-+.0-9e]+')


def samples(status: PeerStatus) -> list[str]:
    return [line for line in exposition(status).splitlines() if not line.startswith("#")]


def test_each_line_is_a_comment_or_a_sample() -> None:
    assert [line for line in samples(a_status()) if not SAMPLE.fullmatch(line)] == []


def test_it_says_round_disk_members_and_what_was_measured() -> None:
    found = samples(a_status(client("alice", Doing.WORKING, answers=Answers(2, 1.5, ())), client("bob", Doing.AWAY)))
    assert "pollen_up 1" in found
    assert "pollen_disk_free_bytes 12000000000" in found
    text = "\n".join(found)
    assert re.search(
        r'pollen_round\{federation="trial",federation_id="\w{14}",role="server",run="bafyrei\w{7}"\} 2\n', text
    )
    assert re.search(r'pollen_members\{.*doing="away"\} 1\n', text)
    assert re.search(r'pollen_member_answers\{.*member="alice"\} 2\n', text)
    assert re.search(r'pollen_measured\{.*metric="loss"\} 0.25', text)


def test_it_says_what_a_paused_peer_a_standby_and_a_keeper_do() -> None:
    status = a_status(waits=(Wait(Lack.ROOM),))
    (part,) = status.parts
    standby = dataclasses.replace(part.role, recomputed=Recomputation(3, 6, contradicted=7))
    keeper = dataclasses.replace(part.role, role=Role.KEEPER, keeps=Kept(1, 2, 3, 4))
    roles = [dataclasses.replace(part, role=role) for role in (part.role, standby, keeper)]
    text = "\n".join(samples(dataclasses.replace(status, parts=tuple(roles))))
    for sample in ("server/pollen_paused 1", "standby/pollen_recomputed_exchanges 3", "standby/pollen_contradicted 1"):
        role, _, rest = sample.partition("/")
        name, _, value = rest.partition(" ")
        assert re.search(rf'^{name}\{{[^}}]*role="{role}"[^}}]*\}} {value}$', text, re.MULTILINE), (sample, text)
    assert re.search(r'^pollen_kept_runs\{[^}]*role="keeper"[^}]*\} 6$', text, re.MULTILINE)
    assert re.search(r'^pollen_lacking\{[^}]*role="keeper"[^}]*\} 4$', text, re.MULTILINE)
    assert text.count("pollen_contradicted") == 1


def test_a_hostile_name_ends_neither_its_quotation_nor_its_line() -> None:
    status = a_status()
    (part,) = status.parts
    role = dataclasses.replace(part.role, means=(('loss"} 1\npollen_up 0\\', 0.5),))
    hostile = dataclasses.replace(status, parts=(dataclasses.replace(part, role=role),))
    assert len(samples(hostile)) == len(samples(status))
    assert [line for line in samples(hostile) if not SAMPLE.fullmatch(line)] == []


def test_federations_of_one_name_are_told_apart_and_each_series_is_told_once() -> None:
    status = a_status()
    (part,) = status.parts
    namesake = dataclasses.replace(part, federation=dataclasses.replace(part.federation, id=RUN))
    found = samples(dataclasses.replace(status, parts=(part, part, namesake)))
    series = [line.rpartition(" ")[0] for line in found]
    assert len(series) == len(set(series))
    assert len([each for each in series if each.startswith("pollen_round{")]) == 2


def test_without_a_running_peer_it_says_so() -> None:
    assert "pollen_up 0" in samples(a_status(running=False, parts=(), health=None))


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text())
    asked = {re.search(r"pollen_\w+", panel["targets"][0]["expr"]) for panel in dashboard["panels"]}
    there = exposition(a_status(client("alice", answers=Answers(1, 1.0, ()))))
    assert {found[0] for found in asked if found} <= set(re.findall(r"pollen_\w+", there))
    assert None not in asked
