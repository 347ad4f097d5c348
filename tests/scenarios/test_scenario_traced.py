"""Traced nets of images and texts as the reference's suite asks for them (contract 9.2, 9.3)."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import pytest
import torch
from torch import nn

from tests.backends.test_torch_traced_texts import Reader
from tests.connectors.texts.sets import vocabulary
from tests.rest.dd_client import DDCommunicationError
from tests.scenarios.conftest import IMAGES, RESNET, Client, refused, solving
from tests.words import Words, write_words

# Each training starts a process that loads torch: seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(600)

CLASSES = 20


def put(module: nn.Module, path: Path) -> None:
    """Write a traced file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        path.write_bytes(torch.jit.script(module.eval()).save_to_buffer())  # type: ignore[no-untyped-call]


def net() -> nn.Module:
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(pooled, nn.Linear(32, CLASSES))


@pytest.mark.promise("predict.output.best", "predict.output.confidence_threshold")
def test_service_predict_and_image_extract(client: Client, pets: dict[str, Path]) -> None:
    put(net(), client.repository("traced") / "net.pt")
    names = "".join(f"{number} n{number:08} pet {number}\n" for number in range(CLASSES))
    (client.repository("traced") / "corresp.txt").write_text(names)
    client.create("traced", IMAGES, {"nclasses": CLASSES})
    cat, dog = pets["test"] / "cats" / "0.jpg", pets["test"] / "dogs" / "0.jpg"
    both = client.predict("traced", [cat, dog], best=1)
    assert [each["uri"] for each in both] == [str(cat), str(dog)]
    assert all(len(each["classes"]) == 1 for each in both)
    (every,) = client.predict("traced", [cat], best=-1)
    probs = [each["prob"] for each in every["classes"]]
    assert (len(probs), probs) == (CLASSES, sorted(probs, reverse=True))
    assert sum(probs) == pytest.approx(1, abs=1e-5)
    assert every["classes"][0]["cat"].startswith("n000000")
    assert [each for each in every["classes"] if "last" in each] == every["classes"][-1:]
    (sure,) = client.predict("traced", [cat], best=-1, confidence_threshold=probs[8])
    assert [each["prob"] for each in sure["classes"]] == [p for p in probs if p > probs[8]]
    for layer in ("final", "last"):
        (found,) = client.predict("traced", [cat], {"extract_layer": layer})
        assert (len(found["vals"]), found["classes"], found["last"]) == (CLASSES, [], True)
    with pytest.raises(DDCommunicationError) as unknown:
        client.predict("traced", [cat], {"extract_layer": "layer4"})
    assert refused(unknown)[:2] == (400, 1006)
    assert "unknown extract layer layer4" in refused(unknown)[2]
    assert len(client.dd.get("/services/traced", {"labels": "1"})["body"]["labels"]) == CLASSES


def test_native_bw_and_multi_label(client: Client, root: Path, pets: dict[str, Path]) -> None:
    mllib = RESNET | {"nclasses": CLASSES, "multi_label": True}
    client.create("several", IMAGES | {"bw": True}, mllib)
    grey = cv2.imread(str(pets["test"] / "cats" / "0.jpg"), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    assert cv2.imwrite(str(root / "grey.png"), grey)
    (found,) = client.predict("several", [root / "grey.png"], best=10)
    assert len(found["classes"]) == 10
    assert sum(each["prob"] for each in found["classes"]) > 1


@pytest.mark.promise("errors.code.1006")
def test_multiple_models_fail(client: Client) -> None:
    put(net(), client.repository("two") / "net.pt")
    with pytest.raises(DDCommunicationError) as two:
        client.create("two", IMAGES, RESNET)
    assert refused(two)[:2] == (400, 1006)
    only = "Only one of these must be provided: traced net, protofile or native template"
    assert only in refused(two)[2]


@pytest.mark.promise("services.torch.finetuning", "services.torch.from_repository")
def test_publish_trained_model(client: Client, pets: dict[str, Path]) -> None:
    put(net(), client.repository("tuned") / "net.pt")
    mllib = {"nclasses": 2, "finetuning": True}
    client.create("tuned", IMAGES, mllib)
    told = client.train("tuned", [pets["train"], pets["test"]], solving(2), ["acc"])["measure"]
    assert told["iteration"] == 2.0
    assert {"checkpoint-2.pt", "checkpoint-2.ptw", "net.pt"} <= client.files("tuned")
    source = {"from_repository": str(client.repository("tuned"))}
    client.create("told", IMAGES, mllib | source)
    files = client.files("told")
    assert {"checkpoint-2.pt", "checkpoint-2.ptw", "best_model.txt", "config.json"} <= files
    assert not {"net.pt", "solver-2.pt"} & files
    image = pets["test"] / "dogs" / "2.jpg"
    (mine,), (theirs,) = (client.predict(name, [image], best=2) for name in ("tuned", "told"))
    assert theirs["classes"] == mine["classes"]


@pytest.mark.promise("services.torch.ctc", "services.torch.finetuning", "templates.crnn")
def test_images_ctc(client: Client, root: Path) -> None:
    words = write_words(root / "words", Words(train=8, test=2))
    connector = {"connector": "image", "width": 64, "height": 32, "ctc": True, "db": True}
    params = {"hidden_size": 8, "num_layers": 1}
    mllib = {"template": "crnn", "ctc": True, "finetuning": True, "template_params": params}
    put(net(), client.repository("reader") / "back.pt")
    with pytest.raises(DDCommunicationError) as flat:
        client.create("reader", connector, mllib)
    assert refused(flat)[:2] == (400, 1006)
    assert "crnn reads a feature map" in refused(flat)[2]
    torch.manual_seed(0)
    strided = nn.Conv2d(3, 8, 5, stride=4, padding=2)
    put(nn.Sequential(strided, nn.ReLU()), client.repository("reader") / "back.pt")
    with pytest.raises(DDCommunicationError) as many:
        client.create("reader", connector, mllib | {"timesteps": 100})
    assert refused(many)[:2] == (400, 1006)
    assert "timesteps 100 do not fit" in refused(many)[2]
    client.create("reader", connector, mllib)
    told = client.train("reader", list(words), solving(3), ["acc"])["measure"]
    assert (told["iteration"], 0 <= told["acc"] <= 1, told["train_loss"] > 0) == (3.0, True, True)
    assert {"back.pt", "checkpoint-3.pt", "checkpoint-3.ptw"} <= client.files("reader")
    image = words[1].read_text().split()[0]
    (found,) = client.predict("reader", [image], ctc=True, blank_label=0)
    (text,) = found["classes"]
    assert (set(text), text["prob"] > 0) == ({"last", "prob", "cat"}, True)
    (several,) = client.predict("reader", [image], ctc=True, best=3)
    assert len(several["classes"]) == 3
    again = solving(4) | {"resume": True}
    assert client.train("reader", list(words), again, ["acc"])["measure"]["iteration"] == 4.0
    client.dd.delete_service("reader")
    client.create("reader", connector, mllib)
    assert client.predict("reader", [image], ctc=True, best=3)[0]["classes"] != []
    client.dd.delete_service("reader", clear="lib")
    assert not [name for name in client.files("reader") if name.startswith("checkpoint")]


@pytest.mark.promise("templates.bert", "services.input.txt.ordered_words")
def test_txt_classification(client: Client, root: Path) -> None:
    for kind, text in (("ham", "new new ,"), ("spam", "york !")):
        (root / "texts" / kind).mkdir(parents=True)
        for number in range(6):
            (root / "texts" / kind / f"{number}.txt").write_text(text)
    torch.manual_seed(0)
    put(Reader(), vocabulary(client.repository("texts")).path / "bert.pt")
    words = {"ordered_words": True, "wordpiece_tokens": True, "punctuation_tokens": True}
    connector = {"connector": "txt", "sequence": 12, **words}
    mllib = {"template": "bert", "nclasses": 2, "embedding_size": 16, "freeze_traced": False}
    client.create("texts", connector, mllib)
    measures = ["f1", "acc", "mcll", "cmdiag", "cmfull"]
    own = {"test_split": 0.25, "shuffle": True, "seed": 1}
    body = client.train("texts", [root / "texts"], solving(3), measures, **own)
    told = body["measure"]
    assert (told["iteration"], 0 <= told["acc"] <= 1, 0 <= told["f1"] <= 1) == (3.0, True, True)
    assert {"cmdiag", "cmfull", "labels"} <= set(body["measures"][0])
    found = client.predict("texts", ["york !", "new"], best=2)
    assert [each["uri"] for each in found] == ["0", "1"]
    assert {each["cat"] for each in found[0]["classes"]} == {"ham", "spam"}
    client.dd.delete_service("texts", clear="lib")
    left = client.files("texts")
    assert not [name for name in left if name.startswith(("checkpoint", "solver"))]
    assert "vocab.dat" in left
