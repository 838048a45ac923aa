"""Odd dialogues with posthouse-smtpd: what it answered when it was last compared with other servers, and no message is smuggled.

The comparison itself is tests/interop/differential, which takes minutes and fetches the other servers.  After a change of what is
taken or refused on purpose, its --record writes the new expectations.
"""

import pathlib
import sys

import pytest

INTEROP = pathlib.Path(__file__).resolve().parents[1] / "interop"
sys.path.insert(0, str(INTEROP))

import odd  # noqa: E402
import player  # noqa: E402
import servers  # noqa: E402
import variants  # noqa: E402
from support import suite  # noqa: E402


@pytest.fixture(scope="module")
def posthouse():
    server = servers.Posthouse(suite.BUILD).start()
    yield server
    server.stop()


def expected():
    return dict(line.split(" ", 1) for line in (INTEROP / "expected.txt").read_text().splitlines())


def test_answers_are_those_recorded(posthouse):
    wanted, dialogues = expected(), odd.everything()
    assert set(wanted) <= set(dialogues), "dialogues that are no more: record anew"
    got = player.play_all(posthouse.port, [dialogues[name] for name in wanted])
    assert got == wanted


def test_every_kind_of_dialogue_is_played():
    def kind(name):
        return name.rpartition("/")[0]

    assert {kind(name) for name in expected()} == {kind(name) for name in odd.everything()}


def test_no_end_of_data_but_the_real_one(posthouse):
    before = set(posthouse.server.queue_files())
    dialogues = [dialogue for _, _, dialogue in (*variants.by_data(), *variants.by_chunks())]
    outcomes = player.play_all(posthouse.port, dialogues)
    taken = {d.name for d in dialogues if outcomes[d.name] == "a" * sum(step.replies for step in d.steps)}
    refused = {name for name, outcome in outcomes.items() if "r" in outcome and "a" not in outcome.partition("r")[2]}
    assert taken | refused == set(outcomes), {name: outcomes[name] for name in set(outcomes) - taken - refused}
    assert len(set(posthouse.server.queue_files()) - before) == len(taken)
