"""Slots of a partition: order of answers and contiguous offsets."""

import asyncio
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from ddstream.api.envelope import Answer
from ddstream.stream.control import Contiguous
from ddstream.stream.predicting.partition import Partition, Slot


def record(offset: int) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, value=b"x" * offset)


@given(st.permutations(range(12)), st.integers(1, 5))
def test_answers_leave_in_the_order_of_requests_however_they_come(
    order: list[int], most: int
) -> None:
    left: list[int] = []

    def publish(partition: Partition) -> None:
        while slots := partition.take(most):
            left.extend(slot.record.offset for slot in slots)
            partition.written(slots)

    partition = Partition(0, 0, publish, Slot.settle)
    slots = [partition.open(record(offset)) for offset in range(12)]
    for position, index in enumerate(order):
        slots[index](Answer())
        finished = set(order[: position + 1])
        contiguous = next(i for i in range(13) if i not in finished)
        assert left == list(range(contiguous))
        assert partition.committable == contiguous
    assert len(partition) == 0
    assert partition.nbytes == 0


async def test_nothing_is_published_again_while_its_answers_are_written() -> None:
    calls: list[Partition] = []
    partition = Partition(0, 1, calls.append, Slot.settle)
    first, second = partition.open(record(1)), partition.open(record(2))
    partition.publishing = asyncio.current_task()
    first(Answer())
    second(Answer())
    assert calls == []


@given(st.permutations(range(10)))
def test_an_offset_is_committed_when_all_work_before_it_is_done(order: list[int]) -> None:
    offsets = Contiguous()
    for offset in range(10):
        offsets.take(offset)
    committed = 0
    for position, offset in enumerate(order):
        result = offsets.done(offset)
        finished = set(order[: position + 1])
        contiguous = next(i for i in range(11) if i not in finished)
        assert (result or committed) == contiguous
        committed = result or committed
    assert committed == 10
