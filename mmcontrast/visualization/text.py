"""Text that fits into pictures."""
from PIL import ImageFont


def truncate_left(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A line of at most ``width`` pixels; one too long loses its beginning."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f'...{line}') > width:
        line = line[1:]
    return f'...{line}'
