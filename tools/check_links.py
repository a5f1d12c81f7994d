"""Check that every relative link, anchor and image in our Markdown pages exists.

    python tools/check_links.py                  all pages of the repository
    python tools/check_links.py docs/data.md     one page
"""
import argparse
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
PAGES = ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'projects/**/*.md', 'tests/**/*.md')
LINK = re.compile(
    r'!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?(?:\s+["\'][^)]*)?\)'  # [text](target "title")
    r'|<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)"'          # <img src="target">
    r'|^\s*\[[^\]]+\]:\s+(\S+)')                            # [name]: target
OUTSIDE = re.compile(r'[a-z][a-z0-9+.-]*:|//')


def main(argv: Sequence[str] | None = None) -> None:
    # Without mmcontrast.apis.cli: `make lint` shall not wait for torch.
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pages', nargs='*', metavar='PAGE.md',
                        help='pages to check (default: all of the repository)')
    named = [Path(name).resolve() for name in parser.parse_args(argv).pages]
    missing = [str(page) for page in named if not page.is_file()]
    if missing:
        parser.error(f'there is no page {", ".join(missing)}')
    pages = named or sorted({page for glob in PAGES for page in ROOT.glob(glob)})
    problems = [problem for page in pages for problem in check(page)]
    links = sum(len(links_of(page)) for page in pages)
    print('\n'.join([*problems, f'{links} links in {len(pages)} pages, '
                     f'{len(problems)} broken']))
    sys.exit(bool(problems))


def check(page: Path) -> list[str]:
    """A sentence on each link of ``page`` that leads nowhere."""
    problems = []
    for number, target in links_of(page):
        file, _, anchor = unquote(target).partition('#')
        aim = (page.parent / file).resolve() if file else page
        where = f'{page.relative_to(ROOT) if ROOT in page.parents else page}:{number}'
        if not aim.exists():
            problems.append(f'{where}: {target}: there is no {file}')
        elif anchor and aim.suffix == '.md' and anchor not in anchors_of(aim):
            problems.append(f'{where}: {target}: no heading of {aim.name} gives '
                            f'#{anchor}; it has {", ".join(sorted(anchors_of(aim)))}')
    return problems


def links_of(page: Path) -> list[tuple[int, str]]:
    """(line number, target) of the links within our own pages."""
    found = []
    for number, line in prose(page):
        line = re.sub(r'`[^`]*`', '', line)
        for groups in LINK.findall(line):
            target = next(filter(None, groups))
            if not OUTSIDE.match(target):
                found.append((number, target))
    return found


@cache
def anchors_of(page: Path) -> frozenset:
    """The anchors that GitHub derives from the headings, and explicit ones."""
    anchors, seen = set(), {}
    for _, line in prose(page):
        anchors.update(re.findall(r'<a\b[^>]*?\b(?:id|name)="([^"]+)"', line))
        heading = re.match(r'#{1,6}\s+(.*?)\s*#*\s*$', line)
        if heading:
            text = re.sub(r'!?\[([^\]]*)\]\([^)]*\)', r'\1', heading[1])
            slug = re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-')
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            anchors.add(f'{slug}-{count}' if count else slug)
    return frozenset(anchors)


def prose(page: Path) -> list[tuple[int, str]]:
    """Numbered lines outside fenced code."""
    lines, fence = [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        mark = re.match(r'\s*(```+|~~~+)', line)
        if mark and fence is None:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = None
        elif fence is None:
            lines.append((number, line))
    return lines


if __name__ == '__main__':
    main()
