"""Note in a work dir which run was begun there last."""
import dataclasses
import json
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mmengine.logging import print_log

from .atomic import write_text

FILE = 'run.json'


@dataclass(frozen=True)
class RunNote:
    """The run that was begun last in a work dir; ``--resume`` continues this one.

    Attributes:
        run: Its id, which its checkpoints carry, too.
        started: When it was begun, ISO 8601 in UTC.
        config: Its config file.
        begun_from: The checkpoint that it resumed from if that is not one of its own:
            a name in the work dir, or a path elsewhere.
    """

    run: str
    started: str
    config: str = ''
    begun_from: str = ''

    @property
    def started_at(self) -> float:
        """Seconds since 1970."""
        return datetime.fromisoformat(self.started).timestamp()


def begin_run(work_dir: str | Path, config: str = '', begun_from: str = '') -> RunNote:
    """Note that a run begins in a work dir, which may hold files of earlier ones."""
    folder = Path(work_dir)
    source = Path(begun_from) if begun_from and '://' not in begun_from else None
    if source and source.resolve().parent == folder.resolve():
        begun_from = source.name  # A copy of the work dir reads its own.
    elif source:
        begun_from = str(source.absolute())
    note = RunNote(uuid.uuid4().hex, datetime.now(timezone.utc).isoformat(),
                   config, begun_from)
    write_text(folder / FILE, json.dumps(dataclasses.asdict(note), indent=1))
    # mmengine's note names a checkpoint of the run before.
    (folder / 'last_checkpoint').unlink(missing_ok=True)
    return note


def read_run_note(work_dir: str | Path) -> RunNote | None:
    """The note of a work dir; None without one, or if it cannot be read."""
    path = Path(work_dir).expanduser() / FILE
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            content = json.loads(path.read_bytes())
            names = [field.name for field in dataclasses.fields(RunNote)]
            note = RunNote(**{name: str(content[name]) for name in names})
            note.started_at  # noqa: B018, raises if it is no time
            return note
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError,
                PermissionError) as error:
            print_log(f'{path} does not say which run was begun last ({error}); taking '
                      'the newest checkpoint.', 'current', logging.WARNING)
    return None
