"""What the tests of rejects share: services that refuse records until they are mended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from ddstream.api.predict import Call
from ddstream.errors import InputError
from ddstream.stream.rejects.rejects import Done, Rejects
from tests.kafka.echo import EchoHost, echo
from tests.kafka.plane import ECHO, Plane, eventually

RAW = {"content-type": b"image/jpeg"}


class Mendable:
    """A host that refuses whatever has `bad` in it until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.host = EchoHost(self.respond)

    def respond(self, call: Call) -> None:
        if not self.mended and isinstance(call.data[0], bytes) and b"bad" in call.data[0]:
            call.done(InputError("it is bad"))
        else:
            echo(call)


async def rejected(plane: Plane, count: int, *, service: str = "x") -> Mendable:
    """A service with so many rejects, over three partitions, keyed by partition."""
    cause = Mendable()
    await plane.worker(cause.host)
    await (await plane.bridge()).create_service(service, ECHO)
    await send_bad(plane, range(count), service)
    await until_rejected(plane, count)
    return cause


async def send_bad(plane: Plane, numbers: Sequence[int], service: str = "x") -> None:
    for number in numbers:
        await plane.send(
            service,
            b"bad %d" % number,
            {**RAW, "dd-uri": b"%d" % number},
            key=b"k%d" % (number % 3),
            partition=number % 3,
        )


async def until_rejected(plane: Plane, count: int) -> None:
    async def there() -> bool:
        return await plane.ends(plane.topics.rejects) >= count

    await eventually(there)


async def drained(plane: Plane) -> None:
    for worker in list(plane._running):
        await plane.drain(worker)


async def done(steps: AsyncGenerator[Sequence[Done], None]) -> list[Done]:
    return [each async for step in steps for each in step]


def opened(plane: Plane) -> Rejects:
    return Rejects(plane.connection, by="tester")
