"""Keep the folder of placement pairs: a journal while it grows, the pair file at last.
"""
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...io.atomic import write_text
from .run_folder import SKIPPED, RunFolder, check_same_settings

_TOOL = 'make_placement_pairs'
_FILES = 'background', 'object'


class PairFolder:
    """Output of :func:`~.make_placement_pairs.make_placement_pairs`.

    ``unfinished.jsonl`` holds the settings of the run in its first line, then a line
    per image that is done. It goes once ``pairs.json`` is there, so that nothing that
    was computed is lost before.

    Args:
        path: The folder.
        settings: Of the run; a journal with others is not continued.
    """

    def __init__(self, path: Path, settings: dict) -> None:
        self.path, self.settings = path, dict(tool=_TOOL, **settings)
        self.pairs_path, self.skipped_path = path / 'pairs.json', path / SKIPPED
        self.journal_path = path / 'unfinished.jsonl'
        self._folder = RunFolder(path, _TOOL, {
            self.pairs_path.name: lambda _: self._finished() is not None,
            self.journal_path.name: lambda _: bool(self._lines())},
            ('backgrounds', 'objects'))

    @contextmanager
    def opened(self, overwrite: bool = False, **sources: str | Path) -> Iterator[None]:
        """Keep the folder for this process, and create it if it is missing.

        Args:
            overwrite: Remove what an earlier run wrote there, and nothing else.
            sources: Files and folders that the run reads, by argument.

        Raises:
            FileExistsError: If the folder holds other files, a finished run, or an
                unfinished one with other settings, or if another process writes to it.
            UserValueError: If a source lies in the folder.
        """
        self._folder.check(**sources)
        with self._folder.locked():
            if overwrite:
                pairs = (self._finished() or []) + [
                    record['pair'] for record in self._lines()[1:] if record['pair']]
                self._folder.clear(pair[key] for pair in pairs for key in _FILES)
            self._check()
            self._folder.create()
            yield

    def done(self) -> dict[int | float | str, dict]:
        """Id of an image -> its record, of the images that are done.

        One whose files were removed is not.
        """
        return {record['image_id']: record for record in self._lines()[1:]
                if not record['pair'] or all((self.path / record['pair'][key]).is_file()
                                             for key in _FILES)}

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
        self._folder.write_skipped(reasons, (
            f'{record["file_name"]}\t'
            f'{"image" if number is None else f"annotation {number}"}\t{reason}'
            for record in records for number, reason in record['skipped']))
        if pairs:
            write_text(self.pairs_path, json.dumps(dict(info=self.settings,
                                                        pairs=pairs)))
        self.journal_path.unlink()

    def _finished(self) -> list[dict] | None:
        """Pairs of a finished run; None if there is none, or another pair file."""
        try:
            content = json.loads(self.pairs_path.read_bytes())
            is_ours = content['info']['tool'] == _TOOL
            return list(filter(_is_pair, content['pairs'])) if is_ours else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _lines(self) -> list[dict]:
        """What the journal holds; a line that was cut off or edited ends it."""
        if not self.journal_path.exists():
            return []
        lines = []
        for line in self.journal_path.read_text('utf-8', 'replace').splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                break
            if lines and not _is_record(content):
                break
            lines.append(content)
        is_ours = lines and isinstance(lines[0], dict) and lines[0].get('tool') == _TOOL
        return lines if is_ours else []

    def _check(self) -> None:
        if self.pairs_path.exists():
            raise FileExistsError(
                f'{self.pairs_path} exists; give another folder, or --overwrite '
                '(overwrite=True) to replace it.')
        lines = self._lines()
        if lines:
            check_same_settings(
                lines[0], self.settings,
                f'{self.path} holds an unfinished run with other settings')


def _is_pair(pair: object) -> bool:
    return isinstance(pair, dict) and all(isinstance(pair.get(k), str) for k in _FILES)


def _is_record(record: object) -> bool:
    """Whether a line says what :class:`~.pair_maker.PairMaker` returns."""
    return (isinstance(record, dict)
            and isinstance(record.get('image_id'), int | float | str)
            and isinstance(record.get('file_name'), str)
            and (record.get('pair', 0) is None or _is_pair(record.get('pair')))
            and isinstance(record.get('skipped'), list)
            and all(isinstance(x, list) and len(x) == 2 and isinstance(x[1], str)
                    for x in record['skipped']))
