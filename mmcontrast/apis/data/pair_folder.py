"""Keep the folder of placement pairs: a journal while it grows, the pair file at last.
"""
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...io.atomic import remove_partial_files, write_text

_FOLDERS = ('backgrounds', 'objects')


class PairFolder:
    """Output of :func:`~.make_placement_pairs.make_placement_pairs`.

    ``unfinished.jsonl`` holds the settings of the run in its first line and one record
    a line for every image that is done. It goes once ``pairs.json`` is there, so that
    nothing that was computed is lost before.

    Args:
        path: The folder, created if missing.
        settings: Of the run; a journal with others is not continued.
        overwrite: Remove what an earlier run wrote there, and nothing else.

    Raises:
        FileExistsError: If the folder holds other files, a finished run, or an
            unfinished one with other settings.
    """

    def __init__(self, path: Path, settings: dict, overwrite: bool = False) -> None:
        self.path = path
        # As they read back, to be compared.
        self.settings = json.loads(json.dumps(settings))
        self.pairs_path, self.skipped_path = path / 'pairs.json', path / 'skipped.txt'
        self.journal_path = path / 'unfinished.jsonl'
        if path.is_file():
            raise FileExistsError(f'{path} is a file; give the name of a folder.')
        ours = any(file.exists() for file in (
            self.pairs_path, self.skipped_path, self.journal_path))
        if path.is_dir() and any(path.iterdir()) and not ours:
            raise FileExistsError(
                f'{path} is not empty and was not written by make_placement_pairs; '
                'give another folder.')
        if overwrite:
            self._clear()
        self._check()
        path.mkdir(parents=True, exist_ok=True)
        for folder in (path, *(path / name for name in _FOLDERS)):
            remove_partial_files(folder)

    def done(self) -> dict[str, dict]:
        """Id of an image -> its record, of the images that are done."""
        return {record['image_id']: record for record in self._lines()[1:]}

    @contextmanager
    def open_journal(self) -> Iterator[Callable[[dict], None]]:
        """A function that adds a record to the journal at once."""
        # Written anew: a run that was killed may have left half a line.
        lines = [self.settings, *self.done().values()]
        write_text(self.journal_path, ''.join(f'{json.dumps(x)}\n' for x in lines))
        with open(self.journal_path, 'a', encoding='utf-8') as file:
            def add(record: dict) -> None:
                file.write(f'{json.dumps(record)}\n')
                file.flush()

            yield add

    def finish(self, pairs: list[dict], records: list[dict], reasons: Counter) -> None:
        """Write the list of what was skipped and, if there are pairs, the pair file."""
        lines = [f'# {count} x {reason}' for reason, count in reasons.most_common()]
        lines += [f'{record["file_name"]}\t'
                  f'{"image" if number is None else f"annotation {number}"}\t{reason}'
                  for record in records for number, reason in record['skipped']]
        write_text(self.skipped_path, '\n'.join(lines) + '\n')
        if pairs:
            write_text(self.pairs_path, json.dumps(dict(info=self.settings,
                                                        pairs=pairs)))
        self.journal_path.unlink()

    def _lines(self) -> list[dict]:
        """What the journal holds; a line that was cut off ends it."""
        if not self.journal_path.exists():
            return []
        lines = []
        for line in self.journal_path.read_text(encoding='utf-8').splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def _check(self) -> None:
        if self.pairs_path.exists():
            raise FileExistsError(
                f'{self.pairs_path} exists; give another folder, or --overwrite '
                '(overwrite=True) to replace it.')
        lines = self._lines()
        if not lines or lines[0] == self.settings:
            return
        differ = [f'{key} was {lines[0].get(key)!r} and is {value!r}'
                  for key, value in self.settings.items() if lines[0].get(key) != value]
        raise FileExistsError(
            f'{self.path} holds an unfinished run with other settings: '
            f'{"; ".join(differ)}. Use the same to resume it, give another folder, or '
            '--overwrite (overwrite=True) to start again.')

    def _clear(self) -> None:
        for name in _FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for path in (self.pairs_path, self.skipped_path, self.journal_path):
            path.unlink(missing_ok=True)
