"""The `phi3kit` command: the commands, and what every one of them shares."""

from __future__ import annotations

import atexit
import codecs
import gc
import io
import os
import sys
from typing import Annotated

import typer

from phi3kit import __version__
from phi3kit.cli import (
    advise,
    ask,
    compare,
    dataset,
    demo,
    doctor,
    evaluate_retrieval,
    export,
    finetune,
    ingest,
    init,
    plan,
    report,
    search,
)
from phi3kit.cli.group import group_of
from phi3kit.errors import Phi3kitError, first_line
from phi3kit.models.out_of_memory import is_out_of_memory
from phi3kit.wording import printable

app = typer.Typer(
    name="phi3kit",
    cls=group_of({
        "demo": demo.demo, "init": init.init, "advise": advise.advise, "ingest": ingest.ingest,
        "search": search.search, "evaluate-retrieval": evaluate_retrieval.evaluate_retrieval,
        "ask": ask.ask, "finetune": finetune.finetune, "export": export.export,
        "compare": compare.compare, "report": report.report, "plan": plan.plan,
        "doctor": doctor.doctor, "dataset": dataset.app,
    }),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Retrieve, fine-tune, both, or neither? Advises, does it, and measures it on your "
         "own questions.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"phi3kit {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Print the version and stop.")] = False,
) -> None:
    pass


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""What an encoding lacks as \u00e9, which JSON reads too; Python's own \xe9 it does not."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start:error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(
        units[::2], units[1::2], strict=True)), error.end


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 1 or 2."""
    # Nothing leaves the machine unless the user named a provider.
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # A byte or a character that the terminal's encoding does not have costs itself alone.
    codecs.register_error("phi3kit", _escaped)
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "phi3kit")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    # What is left at the end goes with the process: Python would look through all of it for
    # cycles first, which takes a tenth of a quick command's time.
    atexit.register(gc.freeze)
    try:
        app()
    except Phi3kitError as error:
        print(f"phi3kit: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        # With --fresh it would throw away what is there.
        again = " without --fresh" if "--fresh" in sys.argv else ""
        print(f"\nphi3kit: stopped; the same command{again} goes on from here", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): no traceback, and none at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        said = f" ({printable(first_line(error))})" if str(error) else ""
        print(f"phi3kit: out of memory{said}. Make room and run the same command again",
              file=sys.stderr)
        sys.exit(1)
