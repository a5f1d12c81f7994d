"""Check whether a config will train on this machine, before a long run.

    python tools/doctor.py configs/pixpro/CONFIG.py
    python tools/doctor.py CONFIG.py --checkpoint epoch_100.pth
    python tools/doctor.py CONFIG.py --cfg-options train_dataloader.batch_size=8

It prints one line per check:

  OK    passed                  WARN  works, but probably not as intended
  FAIL  the run cannot work; the line says what to do

  versions    torch, mmengine, mmcv and the mm libraries fit each other
  devices     GPUs and their free memory, CPU cores, main memory
  config      misspelled or unknown keys and types, wrong values (what tools/train.py
              checks before each run)
  limits      workers per CPU core, open files
  data        of each loader: counts, a sample of images and labels opened; boxes that
              are dropped and why, labels outside of the classes, classes without
              labels, EXIF orientations
  model       built as configured; strides of the feature maps against those of a
              detector's anchors
  checkpoint  keys and shapes against the model
  training    batches from the loader, forward, backward, optimizer step
  validation  one batch through the model and the metrics
  cost        disk space for the checkpoints, peak memory, duration of the run, and
              whether data loading or the model limits it

A check that fails does not stop the others. All take three minutes at most (--minutes);
without a GPU, the time of a large batch is estimated from a few samples. Nothing is
left behind: no work dir, no checkpoint. Weights that a config names by a URL are not
downloaded. The exit status is 1 if anything failed.
"""
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    try:
        from mmcontrast.apis.cli import add_cfg_options, tool_parser
        from mmcontrast.apis.doctor import doctor
    except ImportError as error:
        # What is installed does not fit together; the message says what to do.
        sys.exit(f'versions\n  FAIL  {error}')
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config file, or mmcontrast::pixpro/...')
    parser.add_argument('--checkpoint', metavar='FILE',
                        help='weights that must fit the model (default: load_from '
                        'of the config)')
    parser.add_argument('--samples', type=int, default=16, metavar='N',
                        help='images to open of each dataset')
    parser.add_argument('--steps', type=int, default=4, metavar='N',
                        help='maximum number of training steps to time')
    parser.add_argument('--minutes', type=float, default=3, metavar='M',
                        help='time for all checks (default: 3); then it stops and '
                        'prints what it knows')
    add_cfg_options(parser, 'train_dataloader.batch_size=8')
    report = doctor(**vars(parser.parse_args(argv)))
    return int(bool(report.count('FAIL')))


if __name__ == '__main__':
    sys.exit(main())
