"""The lines that the doctor prints, and how many of them are bad."""
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

from ...datasets.bad_images import BadImage
from ...errors import UserError
from ..config import UsageError


class Report:
    """Prints a line on each thing that was looked at, as soon as it is known.

    Attributes:
        lines: (status, text) of all lines, status ``'OK'``, ``'WARN'`` or ``'FAIL'``.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def ok(self, text: str) -> None:
        """All is well; say what was seen."""
        self._print('OK', text)

    def warn(self, text: str) -> None:
        """The run works, but probably not as it is meant."""
        self._print('WARN', text)

    def fail(self, text: str) -> None:
        """The run cannot work; the text says what to do."""
        self._print('FAIL', text)

    def count(self, status: str) -> int:
        """How many lines have this status."""
        return sum(found == status for found, _ in self.lines)

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Inside, any error becomes a FAIL line; what follows goes on."""
        print(title, flush=True)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Also SystemExit: a config is code, and so are its data sets.
            self.fail(spoken_error(error))

    def _print(self, status: str, text: str) -> None:
        self.lines.append((status, text))
        first, *others = text.splitlines() or ['']
        print(f'  {status:5} {first}', *(f'        {line}' for line in others),
              sep='\n', flush=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, what libraries print while they read their files is not shown."""
    with redirect_stdout(StringIO()):
        yield


def spoken_error(error: BaseException) -> str:
    """An error in one line: its text, its type, and where our reader may look."""
    while isinstance(error.__cause__, Exception) and not str(error):
        error = error.__cause__
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    lines = [line for line in str(text).strip().splitlines() if line.strip()]
    # A loader process hands on its whole traceback; the last line says what it is.
    if lines and lines[0].startswith('Caught') and len(lines) > 1:
        lines = [lines[0].split(' in ')[0].removeprefix('Caught '), lines[-1]]
        return ': '.join(lines)
    if isinstance(error, (UsageError, UserError, BadImage, FileNotFoundError)):
        return '\n'.join(lines)  # written for people
    return f'{type(error).__name__}: {" ".join(lines[:6])}{_place(error)}'


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ''
    file = trace.tb_frame.f_code.co_filename.rpartition('site-packages/')[2]
    return f' ({file}:{trace.tb_lineno})'
