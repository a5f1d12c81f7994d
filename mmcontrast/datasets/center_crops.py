"""Read image files resized and cropped to one square, as for classification."""
from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import functional as tvf

from .bad_images import BadImage
from .image_files import read_image


class CenterCroppedImages(Dataset):
    """Image files with the short side ``resize``, cropped to the middle square.

    An item is a (3, crop, crop) uint8 RGB tensor, or None if the file is no image.

    Args:
        resize, crop: Short side, and side of the square, in pixels.
    """

    def __init__(self, paths: Sequence[str], resize: int, crop: int) -> None:
        self.paths, self.resize, self.crop = list(paths), resize, crop

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | None:
        try:
            image = read_image(self.paths[index])
        except BadImage:
            return None
        image = tvf.center_crop(tvf.resize(image, self.resize), self.crop)
        return tvf.pil_to_tensor(image)
