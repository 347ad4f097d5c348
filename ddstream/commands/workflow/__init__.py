"""Training and predicting from the command line.

What a workflow needs is imported when it runs: `--help` must not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ddstream.commands.workflow.events import Format
from ddstream.commands.workflow.flags import FormatFlag, WorkflowCommand, with_options
from ddstream.commands.workflow.options import InferOptions, TrainOptions

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="yolox, segformer, or any template of `models`.")
]
Config = Annotated[Path | None, typer.Option(help="YAML file with options.")]
Assigned = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One option; dots nest, the value is YAML. Repeatable."
    ),
]
Images = Annotated[
    list[str] | None, typer.Argument(metavar="IMAGE", help="Paths, URLs, folders, or lines.")
]
Where = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run, or its run.json.")]
Which = Annotated[str | None, typer.Argument(metavar="NAME", help="One template only.")]
Form = Annotated[FormatFlag | None, typer.Option("--output-format", help="How events are told.")]

_ORDER = (
    "Options come from the template's profile, then from --config, then from flags, then from "
    "--set; the later goes over the earlier, mappings merge. Ends with 0, 1 for an error, 2 for "
    "wrong words, 130 when it was interrupted."
)


def add_workflows(app: typer.Typer, *, documented: bool = False) -> None:
    """Give an app its workflows; `documented` gives them the names of the documented command."""
    app.command("train", cls=WorkflowCommand, epilog=_ORDER)(_train)
    app.command("infer" if documented else "predict", cls=WorkflowCommand, epilog=_ORDER)(_infer)
    job = typer.Typer(help="Runs that were started here.", no_args_is_help=True)
    job.command("status")(_status)
    # A group of one command would swallow its name.
    job.callback()(_runs)
    app.add_typer(job, name="job")
    if documented:
        inspect = typer.Typer(help="What there is.", no_args_is_help=True)
        inspect.command("models")(_models)
        inspect.callback()(_things)
        app.add_typer(inspect, name="inspect")
    else:
        app.command("models")(_listed)


@with_options(TrainOptions)
def _train(
    flags: dict[str, Any],
    name: Name,
    *,
    config: Config = None,
    assigned: Assigned = None,
    output_format: Form = None,
) -> None:
    """Train a model, without any server.

    Weights are never needed: a model starts from fresh ones, from --weights, or from the
    repository's. Ctrl-C asks the training to stop, and keeps its checkpoint; a second one kills it.
    """
    from ddstream.commands.workflow.outcomes import outcomes
    from ddstream.commands.workflow.said import Said
    from ddstream.commands.workflow.train import train

    with outcomes():
        words = Said(name, config, flags, assigned or ())
        raise typer.Exit(train(words, _form(output_format)))


@with_options(InferOptions)
def _infer(
    flags: dict[str, Any],
    name: Name,
    images: Images = None,
    *,
    config: Config = None,
    assigned: Assigned = None,
    output_format: Form = None,
) -> None:
    """Predict with a trained model, without any server.

    What the training of --repository said of its model (config.yaml) holds here too.
    """
    from ddstream.commands.workflow.infer import infer
    from ddstream.commands.workflow.outcomes import outcomes
    from ddstream.commands.workflow.said import Said

    with outcomes():
        words = Said(name, config, flags, assigned or ())
        raise typer.Exit(infer(words, images or (), _form(output_format)))


def _runs() -> None:
    """Runs that were started here."""


def _things() -> None:
    """What there is."""


def _status(where: Where, output_format: Form = None) -> None:
    """How a run goes, or how it has ended, with its measures."""
    from ddstream.commands.workflow.outcomes import outcomes
    from ddstream.commands.workflow.status import status

    with outcomes():
        raise typer.Exit(status(where, _form(output_format) or "json"))


def _models(name: Which = None, output_format: Form = None) -> None:
    """The templates, with their task, connector and parameters."""
    from ddstream.commands.workflow.models import models
    from ddstream.commands.workflow.outcomes import outcomes

    with outcomes():
        raise typer.Exit(models(name, _form(output_format) or "text"))


def _listed(
    name: Which = None, json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """The templates, with their task, connector and parameters."""
    _models(name, FormatFlag.json if json else None)


def _form(flag: FormatFlag | None) -> Format | None:
    return None if flag is None else flag.value
