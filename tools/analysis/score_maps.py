"""Draw where each class text matches an image: the score maps of a DenseCLIP.

    python tools/analysis/score_maps.py CONFIG CHECKPOINT photo.jpg
    python tools/analysis/score_maps.py CONFIG CHECKPOINT photos --classes "car;a tree"

Writes a sheet an image: the photograph, then for each text the cosine of every place
with it as a colour, bright where it is high, on one scale for all texts. A ring marks
the peak, its cosine stands after the text.
"""
import argparse

from mmengine.config import DictAction

from mmcontrast.apis.convert import sentences
from mmcontrast.apis.score_maps import score_maps


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='score_maps.py', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a DenseCLIP segmentor or detector')
    parser.add_argument('checkpoint', help='a checkpoint of its training')
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument('--classes', metavar="'sky;tree;a red car'",
                        help='class texts; or a text file with one a line, or the name '
                        'of a data set (default: those of the training)')
    parser.add_argument('--out', default='work_dirs/score_maps', metavar='DIR')
    parser.add_argument('--limits', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='cosines of the darkest and the brightest colour, to '
                        'compare sheets; default: the range of each sheet')
    parser.add_argument('--device', help='cpu, cuda, cuda:1; default: a GPU, if any')
    parser.add_argument('--batch-size', type=int, default=4, metavar='N',
                        help='images of one size to pass together (default: 4)')
    parser.add_argument('--workers', type=int, default=2, metavar='N',
                        help='processes that read images (default: 2)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=V',
                        help='override settings')
    arguments = vars(parser.parse_args())
    with sentences(parser):
        found = score_maps(**arguments)
    print(found.summary())


if __name__ == '__main__':
    main()
