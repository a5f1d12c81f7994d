"""Print the results of checks and count them."""
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from ...datasets.bad_images import BadImage
from ...errors import UserError
from .budget import OutOfTime


class Report:
    """Prints a line for each check as soon as its result is known.

    Attributes:
        lines: (status, text) of all lines, status ``'OK'``, ``'WARN'`` or ``'FAIL'``.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def ok(self, text: str) -> None:
        """The check passed; ``text`` says what was found."""
        self._print('OK', text)

    def warn(self, text: str) -> None:
        """The run works, but probably not as intended."""
        self._print('WARN', text)

    def fail(self, text: str) -> None:
        """The run cannot work; the text says what to do."""
        self._print('FAIL', text)

    def count(self, status: str) -> int:
        """How many lines have this status."""
        return sum(found == status for found, _ in self.lines)

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Turn any error inside into a FAIL line, so that later checks run."""
        print(title, flush=True)
        try:
            yield
        except (KeyboardInterrupt, OutOfTime):
            raise
        except BaseException as error:
            # Also SystemExit: configs and datasets are code.
            self.fail(error_text(error))

    def _print(self, status: str, text: str) -> None:
        self.lines.append((status, text))
        first, *others = text.splitlines() or ['']
        print(f'  {status:5} {first}', *(f'        {line}' for line in others),
              sep='\n', flush=True)


def first_few(problems: list[str], most: int = 5) -> list[str]:
    """The first lines of a list, and how many more there are."""
    more = len(problems) - most
    return problems[:most] + ([f'... and {more} more'] if more > 0 else [])


@contextmanager
def suppress_output() -> Iterator[None]:
    """Hide what libraries print while they read their files."""
    with redirect_stdout(StringIO()):
        yield


def error_text(error: BaseException) -> str:
    """An error in one line: its text, type and source line."""
    while isinstance(error.__cause__, Exception) and not str(error):
        error = error.__cause__
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    lines = [line for line in str(text).strip().splitlines() if line.strip()]
    # A loader worker passes its whole traceback on; the last line is the error.
    if lines and lines[0].startswith('Caught') and len(lines) > 1:
        lines = [lines[0].split(' in ')[0].removeprefix('Caught '), lines[-1]]
        return ': '.join(lines)
    if isinstance(error, (UserError, BadImage, FileNotFoundError)):
        return '\n'.join(lines)  # its text is complete
    return f'{type(error).__name__}: {" ".join(lines[:6])}{_source_line(error)}'


def _source_line(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ''
    file = trace.tb_frame.f_code.co_filename.rpartition('site-packages/')[2]
    return f' ({file}:{trace.tb_lineno})'
