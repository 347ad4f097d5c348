"""DeepDetect(): the engine inside this process, as the document shows it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from ddstream import DeepDetect
from ddstream.deepdetect import CapabilityError, DeepDetectError, Service
from tests.digits import write_digits

ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def dd() -> Iterator[DeepDetect]:
    with DeepDetect() as dd:
        yield dd


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_digits(tmp_path_factory.mktemp("digits"), train=4, test=1)


@pytest.fixture
def service(dd: DeepDetect, tmp_path: Path) -> Iterator[Service]:
    with dd.create_service(
        "imageserv",
        model={"repository": str(tmp_path)},
        mllib="torch",
        input_parameters={"connector": "image", "width": 32, "height": 32, "rgb": True},
        mllib_parameters={"template": "resnet18", "nclasses": 10},
    ) as service:
        yield service


def solver(iterations: int, *, resume: bool = False) -> dict[str, object]:
    return {
        "solver": {"iterations": iterations, "base_lr": 0.001, "solver_type": "ADAM"},
        "net": {"batch_size": 8},
        "resume": resume,
    }


@pytest.mark.promise("python.inprocess")
def test_a_service_predicts_and_is_deleted(
    dd: DeepDetect, service: Service, digits: tuple[Path, Path]
) -> None:
    assert [each["name"] for each in dd.info()["services"]] == ["imageserv"]
    path = next(digits[1].glob("*/*.png"))
    (prediction,) = service.predict([str(path)], output_parameters={"best": 1})["predictions"]
    assert prediction["uri"] == str(path)
    assert len(prediction["classes"]) == 1
    assert 0 < prediction["classes"][0]["prob"] <= 1
    service.delete()
    assert dd.info()["services"] == []


def test_a_path_its_bytes_and_its_pixels_are_predicted_alike(
    service: Service, digits: tuple[Path, Path]
) -> None:
    path = next(digits[1].glob("3/*.png"))
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert pixels is not None
    every = {"best": -1}
    by_path, by_bytes, by_pixels = (
        service.predict(data, output_parameters=every)["predictions"][0]["classes"]
        for data in (path, path.read_bytes(), np.ascontiguousarray(pixels[..., ::-1]))
    )
    assert by_path == by_bytes == by_pixels


def test_errors_tell_their_codes(dd: DeepDetect, service: Service, tmp_path: Path) -> None:
    with pytest.raises(DeepDetectError) as missing:
        service.predict(str(tmp_path / "nothing.png"))
    assert (missing.value.status_code, missing.value.dd_code) == (400, 1005)
    with pytest.raises(DeepDetectError) as unknown:
        dd.service("nothing")
    assert unknown.value.dd_code == 1002


def test_a_gpu_that_is_not_there_is_a_missing_capability(dd: DeepDetect, tmp_path: Path) -> None:
    if dd_has_gpu():
        pytest.skip("this machine has a GPU")
    with pytest.raises(CapabilityError) as missing:
        dd.create_service(
            "fast",
            model={"repository": str(tmp_path)},
            mllib="torch",
            input_parameters={"connector": "image"},
            mllib_parameters={"template": "resnet18", "nclasses": 2, "gpu": True},
        )
    assert (missing.value.status_code, missing.value.dd_code) == (400, 2000)
    assert dd.info()["services"] == []


def dd_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_a_build_tells_what_it_is_made_of(dd: DeepDetect) -> None:
    build = dd.build_info
    assert set(build) >= {"version", "commit", "branch", "dependency_versions", "cuda"}
    assert "torch" in build["dependency_versions"]


@pytest.mark.promise("train.blocking")
def test_a_training_that_is_waited_for_gives_its_report(
    service: Service, digits: tuple[Path, Path]
) -> None:
    report = service.train(
        digits, mllib_parameters=solver(2), output_parameters={"measure": ["acc"]}
    )
    assert report["measure"]["iteration"] == 2
    assert 0 <= report["measure"]["acc"] <= 1


@pytest.mark.timeout(300)
def test_a_training_in_the_background_is_followed_and_cancelled(
    service: Service, digits: tuple[Path, Path]
) -> None:
    job = service.train(digits, mllib_parameters=solver(2), asynchronous=True)
    assert job.status()["job"] == job.job
    report = job.wait(timeout=100, poll_interval=0.05)
    assert report["status"] == "finished"
    assert job.status() == report
    further = solver(ENDLESS, resume=True)
    endless = service.train(digits, mllib_parameters=further, asynchronous=True)
    with pytest.raises(TimeoutError):
        endless.wait(timeout=0)
    endless.cancel()
    assert endless.wait()["status"] == "terminated"


@pytest.mark.promise("predict.output.network", "predict.output.template")
def test_a_prediction_is_rendered_and_pushed(service: Service, digits: tuple[Path, Path]) -> None:
    got: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(201)
            self.end_headers()
            self.wfile.write(b"kept")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output stays clean."""

    path = next(digits[1].glob("*/*.png"))
    with HTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        template = "{{#body}}{{#predictions}}{{uri}}{{/predictions}}{{/body}}"
        output = {"network": {"url": url, "http_method": "PUT"}, "template": template}
        body = service.predict(path, output_parameters=output)
        thread.join()
    assert body == {"relay": {"code": 201, "content": "kept"}}
    assert got == [str(path).encode()]


SCRIPT = """
import sys
from ddstream import DeepDetect
dd = DeepDetect()
service = dd.create_service(
    "imageserv",
    model={"repository": sys.argv[1]},
    mllib="torch",
    input_parameters={"connector": "image", "width": 32, "height": 32, "rgb": True},
    mllib_parameters={"template": "resnet18", "nclasses": 2},
)
print(len(service.predict([sys.argv[2]], output_parameters={"best": 1})["predictions"]))
"""


def test_a_script_that_closes_nothing_ends_cleanly(
    digits: tuple[Path, Path], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    image = next(digits[1].glob("*/*.png"))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(image)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@pytest.mark.promise("python.inprocess")
def test_the_documented_import_gives_the_same_classes() -> None:
    documented = importlib.import_module("deepdetect")
    assert documented.DeepDetect is DeepDetect
    assert documented.DeepDetectError is DeepDetectError


@pytest.mark.promise("services.output.measure")
def test_the_measures_of_a_creation_are_those_of_its_tests(
    dd: DeepDetect, digits: tuple[Path, Path], tmp_path: Path
) -> None:
    with dd.create_service(
        "measured",
        model={"repository": str(tmp_path)},
        mllib="torch",
        input_parameters={"connector": "image", "width": 32, "height": 32},
        mllib_parameters={"template": "resnet18", "nclasses": 10},
        output_parameters={"measure": ["mcll"]},
    ) as service:
        solver = {"iterations": 1, "base_lr": 1e-3}
        found = service.train(
            list(digits), mllib_parameters={"solver": solver, "net": {"batch_size": 8}}
        )
        assert "mcll" in found["measure"]
        assert "acc" not in found["measure"]
