"""The group of all commands: how errors become one line and an exit code.

Exit codes: 0 all done; 1 some images failed, or a part is away; 2 the user's input; 130 interrupted.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from storage.errors import FarmError, UserError, nearest

_MODULES = {
    "job_files.demo": "demo", "job_files.files": "init check schema completion", "job_files.run": "run",
    "job_files.schedulers": "schedulers",
    "running.jobs": "submit ls show watch", "running.wishes": "pause resume cancel retry", "running.logs": "logs",
    "running.control": "why workers priority drain", "running.extend": "extend",
    "stored.pictures": "images sheet image", "stored.inputs": "put", "stored.models": "model",
    "stored.keeping": "du gc rm fsck rebuild",
    "datasets.export": "export", "datasets.publish": "publish",
    "datasets.verify": "verify rerun", "datasets.audit": "audit diff",
    "parts.services": "up dispatcher flower", "parts.doctor": "doctor",
}  # fmt: skip
SECTIONS = {  # in the order in which a newcomer meets them
    "A job file": "demo init check run schedulers schema",
    "Jobs": "submit ls show watch why logs pause resume cancel retry extend priority",
    "Pictures": "images sheet image put model",
    "Data sets": "export publish verify rerun audit diff",
    "The farm": "up dispatcher workers drain flower doctor",
    "What it keeps": "du gc rm fsck rebuild",
    "Your shell": "completion",
}
COMMANDS = {name: module for module, names in _MODULES.items() for name in names.split()}
EXIT_FAILED, EXIT_USER, EXIT_INTERRUPTED = 1, 2, 130


class NearGroup(click.Group):
    """Names the nearest command when there is none of that name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            raise click.UsageError(
                f"no command {args[0]!r}; {nearest(args[0], self.list_commands(ctx))}", ctx
            ) from None


class FarmGroup(NearGroup):
    """Loads the module of a command when it is called, and words errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order in which a newcomer meets them."""
        return [name for names in SECTIONS.values() for name in names.split()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dispatcher.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their sections."""
        width = formatter.width - 6 - max(map(len, COMMANDS))
        for title, names in SECTIONS.items():
            found = [(name, self.get_command(ctx, name)) for name in names.split()]
            with formatter.section(title):
                rows = [(name, command.get_short_help_str(width)) for name, command in found if command is not None]
                formatter.write_dl(rows, col_max=max(map(len, COMMANDS)))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command; every ending has its exit code."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **extra)
        except click.exceptions.NoArgsIsHelpError as help_asked:
            click.echo(help_asked.format_message())
            code = EXIT_USER
        except click.ClickException as error:
            _say(error.format_message())
            code = EXIT_USER
        except UserError as error:
            _say(str(error))
            code = EXIT_USER
        except FarmError as error:
            _say(str(error))
            code = EXIT_FAILED
        except (click.Abort, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        except BrokenPipeError:
            sys.stderr.close()
            code = EXIT_FAILED
        sys.exit(code if isinstance(code, int) else 0)


def _say(message: str) -> None:
    click.echo(f"farm: {message}", err=True)


@click.group(cls=FarmGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="seedfarm", prog_name="farm")
def main() -> None:
    """Seedfarm: a render farm for diffusion models.

    One job file says what to draw: prompts x seeds x schedulers x anything else. Workers render it, the object store
    keeps the images, SQL knows how each was made.

    \b
    first look      farm demo
    your own job    farm init > job.yaml, then farm check job.yaml, then farm run job.yaml
    a farm          farm up, then farm submit job.yaml, farm watch @last, farm sheet @last

    JOB is a job's name, the beginning of its id, or @last.
    """  # noqa: D301  # the backspace tells Click to keep the lines
