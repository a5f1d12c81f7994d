"""Warn of training on positives alone, where the loss needs negatives."""
from mmengine.logging import print_log

# Positives without one negative after which the warning comes.
MANY = 1000


class NegativesWatch:
    """Count the labels of training until a negative is seen; warn once if none is.

    From positives alone, cross entropy learns to call every place plausible.

    Args:
        owner: Name of the loss or model, for the message.
        alternative: What to use on data without negatives, for the message.
    """

    def __init__(self, owner: str, alternative: str) -> None:
        self.owner, self.alternative = owner, alternative
        self._positives: int | None = 0  # None: nothing is left to say

    def count(self, num_positives: int, num_negatives: int) -> None:
        """Take note of the labels of a batch."""
        if self._positives is None:
            return
        if num_negatives:
            self._positives = None
            return
        self._positives += num_positives
        if self._positives >= MANY:
            print_log(
                f'{self.owner}: {self._positives} positives so far and not one '
                'negative; cross entropy then makes every map all ones. Train on data '
                f'with negatives, or use {self.alternative}.', 'current', 30)
            self._positives = None
