"""A server on a thread, with data below its root, and the reference's client before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ddstream.settings import Settings
from tests.rest.dd_client import DD, DDCommunicationError
from tests.serving import Serving

Json = dict[str, Any]
IMAGES: Json = {"connector": "image", "width": 32, "height": 32, "rgb": True, "scale": 0.0039}
RESNET: Json = {"template": "resnet18", "nclasses": 2}
ENDLESS = 1_000_000


def solving(iterations: int, **over: Any) -> Json:
    """`parameters.mllib` of a training, as the reference's tests have it, but short."""
    solver = {"iterations": iterations, "base_lr": 1e-5, "solver_type": "ADAM", "iter_size": 2}
    net = {"batch_size": 4, "test_batch_size": 4}
    return {"solver": {**solver, **over}, "net": net, "resume": False}


@dataclass(frozen=True)
class Client:
    """The reference's client, and the folder that its server may read and write below."""

    dd: DD
    root: Path

    def repository(self, name: str) -> Path:
        """The folder of a service's model."""
        return self.root / "models" / name

    def files(self, name: str) -> set[str]:
        """What the folder of a service's model has."""
        return {path.name for path in self.repository(name).iterdir()}

    def create(self, name: str, connector: Json, mllib: Json, **model: Any) -> Any:
        """PUT /services/name."""
        where = {"repository": str(self.repository(name)), "create_repository": True, **model}
        return self.dd.put_service(name, where, "", "torch", connector, mllib, {})

    def train(
        self, name: str, data: list[Path], mllib: Json, measure: list[str], **own: Any
    ) -> Any:
        """A blocking POST /train; the body of its answer."""
        paths = [str(path) for path in data]
        answer = self.dd.post_train(name, paths, own, mllib, {"measure": measure}, jasync=False)
        assert answer["status"] == {"code": 201, "msg": "Created"}
        return answer["body"]

    def start(self, name: str, data: list[Path], mllib: Json) -> int:
        """An asynchronous POST /train; the number of its job."""
        paths = [str(path) for path in data]
        answer = self.dd.post_train(name, paths, {}, mllib, {"measure": ["acc"]})
        assert answer["head"]["status"] == "running"
        return int(answer["head"]["job"])

    def predict(self, name: str, data: list[Any], mllib: Json | None = None, **output: Any) -> Any:
        """POST /predict; its predictions."""
        answer = self.dd.post_predict(name, [str(each) for each in data], {}, mllib or {}, output)
        assert answer["status"] == {"code": 200, "msg": "OK"}
        assert answer["head"]["method"] == "/predict"
        assert answer["head"]["service"] == name
        assert isinstance(answer["head"]["time"], float)
        return answer["body"]["predictions"]


def refused(error: pytest.ExceptionInfo[DDCommunicationError]) -> tuple[int, int | None, str]:
    """HTTP status, dd_code and dd_msg of a refusal."""
    status = json.loads(error.value.data)["status"]
    assert status["code"] == error.value.code
    return status["code"], status.get("dd_code"), status.get("dd_msg", "")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only folder that the server may read."""
    return tmp_path_factory.mktemp("scenarios")


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Client]:
    """A client of a server that runs as long as a module's tests."""
    with Serving(Settings(roots=str(root))) as server:
        yield Client(DD("127.0.0.1", server.port), root)


@pytest.fixture(scope="module")
def pets(root: Path) -> dict[str, Path]:
    """Class folders of small pictures, reddish dogs and bluish cats: train, test and other."""
    rng, found = np.random.default_rng(0), {}
    for name, count in (("train", 8), ("test", 3), ("other", 3)):
        found[name] = root / "pets" / name
        for channel, pet in ((0, "cats"), (2, "dogs")):
            (found[name] / pet).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 120, (36, 40, 3), np.uint8)
                image[..., channel] += 100
                assert cv2.imwrite(str(found[name] / pet / f"{number}.jpg"), image)
    return found
