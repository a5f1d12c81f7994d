"""Leave out slow work that no test can see, in every process of the tests."""
import ast
import functools
import os

from yapf.yapflib import yapf_api


@functools.lru_cache(8)
def _formatted(text: str, options: str, format_code=yapf_api.FormatCode) -> tuple:
    return format_code(text, **ast.literal_eval(options))


# mmengine formats the text of a config five times a run: a second and a half.
yapf_api.FormatCode = lambda text, **options: _formatted(text, repr(options))

# What was written outlives the process; that it outlives a power failure is not tested.
os.fsync = lambda descriptor: None
