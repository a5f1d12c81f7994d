"""References in docstrings, as in :func:`name`, are names of the package."""
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'):
    path.read_text(encoding='utf-8') for path in (ROOT / 'mmcontrast').rglob('*.py')}
REFERENCE = re.compile(r':(?:class|func|meth|mod|attr|data|exc):`~?([\w.]+)`')
DEFINED = {name for text in SOURCES.values() for name in re.findall(
    r'^(?: *(?:class|def) | *(?=\w+ *[:=])|import )(\w+)', text, re.M)} | {
    module.rpartition('.')[2] for module in SOURCES}


def is_defined(name: str) -> bool:
    module = name if name.startswith('mmcontrast.') else ''
    while module and module not in SOURCES:
        module = module.rpartition('.')[0]
    # The class must be in that module; its member may be inherited.
    member = name[len(module):].strip('.').partition('.')[0]
    return name.rpartition('.')[2] in DEFINED and (
        not module or re.search(rf'\b{member}\b', SOURCES[module]) is not None)


def test_references_of_docstrings_exist():
    unknown = [f'{module}: {name}' for module, text in SOURCES.items()
               for name in REFERENCE.findall(text) if not is_defined(name)]
    assert not unknown, unknown
