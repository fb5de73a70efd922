"""``threat-cloud backup`` and ``restore``: the database and its secret, to a file and back."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from threatcloud.cli.command import DbPath, command
from threatcloud.cli.failures import CommandFailed, ExitCode
from threatcloud.cli.output import Json, note, print_fields, show
from threatcloud.config import Settings, local_settings
from threatcloud.services.backups import make_backup, restore_backup, secret_of

_STANDS_BACK: Final = 10


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""

    @command(
        app, "backup", "threat-cloud backup /backups/threat-cloud.db", "threat-cloud backup nightly.db --force --json"
    )
    def backup(
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="Where the copy goes; its secret goes to FILE.secret.")
        ],
        force: Annotated[bool, typer.Option("--force", help="Overwrite a backup that is there.")] = False,
        db_path: DbPath = None,
        as_json: Json = False,
    ) -> None:
        """Copy the database and its secret to a file, consistent and checked, also while a server runs."""
        settings = _of_file(local_settings(db_path))
        if hasattr(os, "nice"):  # not on Windows
            os.nice(_STANDS_BACK)  # where they share a core, the server's requests come first
        made = make_backup(settings.db_path, settings.secret_path, file, overwrite=force)
        data = {
            "file": str(made.path),
            "bytes": made.size_bytes,
            "sha256": made.sha256,
            "secret": str(made.secret_path),
        }
        show(data, as_json, print_fields)

    @command(app, "restore", "threat-cloud restore /backups/threat-cloud.db")
    def restore(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup; its secret is taken from FILE.secret.")],
        db_path: DbPath = None,
        as_json: Json = False,
    ) -> None:
        """Put a backup in the place of the database, which is kept beside it. No server may run."""
        settings = _of_file(local_settings(db_path))
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        done = restore_backup(file, settings.db_path, settings.secret_path, stamp)
        if not done.has_secret:
            note(f"threat-cloud: warning: there is no {secret_of(file)}, so keys work only if the secret was the same")
        data = {
            "database": str(settings.db_path),
            "old database": str(done.old_database or "none"),
            "old secret": str(done.old_secret or "none"),
        }
        show(data, as_json, print_fields)


def _of_file(settings: Settings) -> Settings:
    """The settings, where the database is a file."""
    if settings.database_url is not None:
        raise CommandFailed(
            "TC_DATABASE_URL names a PostgreSQL database, which is backed up and restored by its own tools: pg_dump "
            '--format=custom --file=FILE "$TC_DATABASE_URL", then pg_restore; a TC_SECRET_FILE goes with it. For a '
            "database file say --db-path FILE",
            ExitCode.USAGE,
        )
    return settings
