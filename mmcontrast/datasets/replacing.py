"""Replace items of a dataset whose images cannot be read, and record them."""
import logging
import random

from mmengine.logging import print_log

from ..io.text_files import display_name
from .bad_images import BadImage, ImagesGone, ImageStatus, Reason

# Fewer images do not tell the share of bad ones.
_MIN_TRIED = 20
# So many missing files in a row are not single lost files.
_MISSING_IN_A_ROW = 20


class ReplacesBadImages:
    """Base of datasets, before mmengine's ``BaseDataset``.

    In training, an item whose pipeline raises :class:`~.bad_images.BadImage` is warned
    about once, counted, and replaced by another random one; ``BadImagesHook`` writes
    the list of them. With ``test_mode`` the error passes.

    A subclass sets ``max_bad_share``, the largest share of bad items among those tried,
    in [0, 1]; more end the run. It is checked once 20 items, or all, have been tried.
    """

    #: What messages call an item.
    noun = 'image'
    max_bad_share: float

    @property
    def source(self) -> str:
        """Where the images come from, for messages."""
        raise NotImplementedError

    def full_init(self) -> None:
        if not self._fully_initialized:
            super().full_init()
            self._reset_status()

    def _reset_status(self) -> None:
        self.status = ImageStatus(len(self))
        self._checked = False

    def get_subset(self, indices):
        subset = super().get_subset(indices)
        subset._reset_status()
        return subset

    def get_subset_(self, indices) -> None:
        super().get_subset_(indices)
        self._reset_status()

    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        if self.test_mode:
            return self.prepare_data(idx)
        missing = 0
        while True:
            try:
                data = self.prepare_data(idx)
            except BadImage as bad:
                missing += bad.reason is Reason.MISSING
                if missing:
                    self._check_still_there(bad.path, missing)
                idx = self._replace(idx, bad)
            else:
                self.status.set_good(idx)
                if not self._checked and self.status.num_news:
                    self._check_share()
                return data

    def bad_images(self) -> list[tuple[str, Reason]]:
        """Path and reason of the images found bad so far, by all loaders."""
        return [(self._name_of(self.get_data_info(idx)), reason)
                for idx, reason in self.status.bad()]

    def _name_of(self, info: dict) -> str:
        """What lists call an item: its file."""
        return info['img_path']

    def _replace(self, idx: int, bad: BadImage) -> int:
        """Record a bad image; returns the index of another one."""
        if self.status.set_bad(idx, bad.reason):
            print_log(f'Bad {self.noun}, replaced by another one: {bad}',
                      logger='current', level=logging.WARNING)
        self._check_share()
        # Drawn until one is not known to be bad, so that the result does not depend on
        # which bad images this process or another has met before.
        while True:
            idx = random.randrange(len(self))
            if not self.status.is_bad(idx):
                return idx

    def _check_still_there(self, path: str, missing: int) -> None:
        """Raise an error if so many files in a row are not single lost files.

        Args:
            path: The last of them.
            missing: Their number.
        """
        if missing >= _MISSING_IN_A_ROW:
            raise ImagesGone(
                f'{missing} images in a row are missing from '
                f'{display_name(self.source)}, the last '
                f'one {display_name(path)}. Put them back (is their disk mounted?).')

    def _check_share(self) -> None:
        """Raise an error if too many of the images are bad.

        The share can only rise with a bad image; good ones are counted until enough
        have been tried.
        """
        tried, num_bad = self.status.counts()
        self._checked = tried >= min(_MIN_TRIED, len(self))
        too_many = self._checked and num_bad > self.max_bad_share * tried
        if too_many or num_bad == len(self):
            raise ValueError(self._too_many(tried, num_bad))

    def _too_many(self, tried: int, num_bad: int) -> str:
        first = '\n'.join(f'  {display_name(path)}: {reason.sentence}'
                          for path, reason in self.bad_images()[:5])
        return (
            f'{num_bad} of the first {tried} {self.noun}s ({num_bad / tried:.0%}) of '
            f'{display_name(self.source)} cannot be used, '
            f'max_bad_share={self.max_bad_share} allows '
            f'{self.max_bad_share:.0%}. The first of them:\n{first}\nRepair or remove '
            'them, or raise max_bad_share of the data set.')
