"""Run ``python -m mmcontrast TOOL``, as the installed command does."""
import sys

from mmcontrast_command import main

if __name__ == '__main__':
    sys.exit(main())
