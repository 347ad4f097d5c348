"""Who gets which partition of `train`."""

from __future__ import annotations

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from ddstream.stream.trainings.assignor import CalmAssignor, Claims, shared


class Cluster:
    """What an assignor asks of a cluster."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1, 2}


def test_members_without_a_past_share_alike() -> None:
    shares = shared(range(6), {"a": Claims(), "b": Claims(), "c": Claims(), "d": Claims()})
    assert sorted(map(len, shares.values())) == [1, 1, 2, 2]
    assert sorted(each for share in shares.values() for each in share) == list(range(6))


def test_a_member_that_joins_takes_idle_partitions_only() -> None:
    old = Claims(owned=range(6), busy={0: 0, 1: 3, 2: 0, 3: 0})
    assert shared(range(6), {"new": Claims(), "old": old}) == {"new": [4, 5], "old": [0, 1, 2, 3]}
    busy = Claims(owned=range(6), busy=dict.fromkeys(range(6), 0))
    assert shared(range(6), {"new": Claims(), "old": busy}) == {"new": [], "old": list(range(6))}


def test_as_few_as_possible_move() -> None:
    before = {"a": Claims(owned=(0, 1, 2)), "b": Claims(owned=(3, 4, 5))}
    assert shared(range(6), before) == {"a": [0, 1, 2], "b": [3, 4, 5]}
    after = shared(range(6), {**before, "c": Claims()})
    assert sorted(map(len, after.values())) == [2, 2, 2]
    assert set(after["a"]) < {0, 1, 2}
    assert set(after["b"]) < {3, 4, 5}


def test_what_a_member_leaves_goes_to_the_others() -> None:
    shares = shared(range(6), {"a": Claims(owned=(0, 1), busy={0: 1}), "b": Claims(owned=(2, 3))})
    assert {0, 1} < set(shares["a"])
    assert {2, 3} < set(shares["b"])


def test_of_two_that_claim_one_the_later_attempt_is_right() -> None:
    members = {"zombie": Claims(owned=(0, 1), busy={0: 1}), "owner": Claims((0,), {0: 2})}
    assert shared(range(2), members) == {"owner": [0], "zombie": [1]}


def test_an_assignor_tells_what_its_own_consumer_has_and_does() -> None:
    first, second = CalmAssignor(lambda: {2: 1}), CalmAssignor(dict)
    first.on_assignment(ConsumerProtocolMemberAssignment(0, [("train", [0, 2])], b""))
    told = {"b": second.metadata(["train"]), "a": first.metadata({"train"})}
    found = second.assign(Cluster(), told)
    assert {name: share.partitions() for name, share in found.items()} == {
        "a": [("train", 0), ("train", 2)],
        "b": [("train", 1)],
    }
