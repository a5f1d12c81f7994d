"""Write the report of ``make demo``: one self-contained HTML file."""
import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..io.atomic import write_text

matplotlib.use('Agg')

Curve = Sequence[tuple[int, float]]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #0a7d4f; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1.2rem; }
h1 { line-height: 1.2; margin-bottom: .2rem } h2 { margin-top: 2.4rem }
.lead { font-size: 1.15rem } .good { color: var(--good); font-weight: 600 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .45rem .9rem; border-bottom: 1px solid var(--line);
         text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; background: #fff; border: 1px solid var(--line);
      border-radius: 6px; margin: .3rem 0 }
pre { background: var(--soft); padding: .8rem 1rem; overflow-x: auto;
      border-radius: 6px; font-size: .85rem }
.note { color: #888; font-size: .9rem }
"""


def write_report(work_dir: Path, summary: dict) -> Path:
    """Write ``work_dir/report.html``.

    Args:
        work_dir: Holds ``views/*.png`` and ``feature_maps.png``.
        summary: ``miou`` (values by initialization, in percent), ``mean``, ``margin``,
            ``seeds``, ``minutes``, ``data``, ``curves`` ((step, value) by name) and
            ``commands`` ((title, command) each).
    """
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>mmcontrast demo</title><style>{_STYLE}</style>',
        _headline(summary), _table(summary), _curves(summary['curves']),
        _matched(work_dir), _features(work_dir), _next_steps(summary)]
    page = work_dir / 'report.html'
    write_text(page, '\n'.join(parts))
    return page


def _headline(summary: dict) -> str:
    mean, margin = summary['mean'], summary['margin']
    verdict = (
        f'<span class="good">{margin:+.1f} points</span>' if margin > 0
        else f'{margin:+.1f} points: no gain in this run')
    return (
        '<h1>PixPro on your machine</h1>'
        f'<p class="lead">A ResNet-18 pretrained for a few minutes on '
        f'{html.escape(summary["data"])}, without labels, then fine-tuned as an FCN on '
        f'a few labeled scenes: {mean["pretrained"]:.1f} mIoU instead of '
        f'{mean["random"]:.1f} from random weights, {verdict}.</p>'
        f'<p class="note">Everything took {summary["minutes"]:.1f} minutes.</p>')


def _table(summary: dict) -> str:
    seeds = summary['seeds']
    head = ''.join(f'<th>seed {seed}</th>' for seed in seeds)
    rows = ''
    for start, title in (('random', 'random weights'), ('pretrained', 'PixPro')):
        values = ''.join(f'<td>{value:.1f}</td>' for value in summary['miou'][start])
        rows += (f'<tr><td>{title}</td>{values}'
                 f'<td><b>{summary["mean"][start]:.1f}</b></td></tr>')
    return ('<h2>Test mIoU, with and without pretraining</h2>'
            f'<table><tr><th>start</th>{head}<th>mean</th></tr>{rows}</table>'
            '<p class="note">Same network, labels, schedule and seeds; 5 labeled '
            'scenes to learn from, other ones with each seed, and 500 others to be '
            'scored on. The classes are object, sky and ground; colors and textures '
            'say nothing about them.</p>')


def _curves(curves: dict[str, Curve]) -> str:
    panels = [('loss', 'loss', 'falls; -4 is the minimum'),
              ('feature_std', 'feature std', '1: uniform, 0: collapsed'),
              ('probe/miou', 'linear probe of the frozen backbone, mIoU',
               'step 0 is random weights')]
    panels = [panel for panel in panels if panel[0] in curves]
    figure = Figure(figsize=(4.2 * len(panels), 3), layout='constrained')
    for axes, (name, title, note) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        steps, values = zip(*curves[name], strict=True)
        axes.plot(steps, values, marker='o' if len(steps) < 12 else None)
        axes.set(title=title, xlabel=f'iteration ({note})')
        axes.title.set_fontsize(10)
        axes.xaxis.label.set_fontsize(9)
        axes.grid(alpha=.3)
    return '<h2>The pretraining run</h2>' + _image(_png(figure), 'curves of the run')


def _matched(work_dir: Path) -> str:
    images = ''.join(
        _image(path.read_bytes(), f'matched pixels of {path.stem}')
        for path in sorted((work_dir / 'views').glob('*.png')))
    return ('<h2>What it learns from</h2><p>Two crops of one image; lines join '
            'pixels of the two feature maps that show the same place, which must '
            f'agree.</p>{images}')


def _features(work_dir: Path) -> str:
    image = (work_dir / 'feature_maps.png').read_bytes()
    return ('<h2>What the backbone distinguishes</h2><p>The three principal components '
            'of its last map as red, green and blue: similar features get similar '
            f'colors.</p>{_image(image, "feature maps")}')


_NEXT_STEPS = """
<h2>Next steps</h2>
<p>On your own images: <code>make demo DATA=folder</code>, or in full size:</p>
<pre>
python tools/train.py configs/pixpro/pixpro_resnet50_1xb64-coslr-100e_folder.py \\
    --work-dir work_dirs/mine --cfg-options train_dataloader.dataset.data_root=FOLDER
python tools/convert/export_backbone.py \\
    configs/pixpro/pixpro_resnet50_1xb64-coslr-100e_folder.py \\
    work_dirs/mine/epoch_100.pth backbone.pth --to mmdet</pre>
<p>Then <code>init_cfg=dict(type='Pretrained', checkpoint='backbone.pth')</code> in
the backbone of any mmdet or mmseg config; <code>projects/downstream</code> has ready
ones.</p>
"""


def _next_steps(summary: dict) -> str:
    commands = '\n\n'.join(
        f'# {html.escape(title)}\n{html.escape(command)}'
        for title, command in summary['commands'])
    return f'{_NEXT_STEPS}<h2>What ran</h2><pre>{commands}</pre></html>'


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    return buffer.getvalue()


def _image(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
