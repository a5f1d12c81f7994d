"""Write weight files for other libraries, and note where the weights come from."""
import pickle
from pathlib import Path

import torch
from torch import Tensor

from ...io.atomic import atomic_write
from ...io.manifest import file_sha256
from ...version import __version__


def provenance(source: str | Path) -> dict[str, str]:
    """Hash of the file that weights were read from, and the versions that read it."""
    return dict(source_sha256=file_sha256(source), mmcontrast_version=__version__,
                torch_version=str(torch.__version__))


def write_weights(state: dict[str, Tensor], dst: str | Path, weights_only: bool,
                  meta: dict[str, str]) -> None:
    """Write weights atomically.

    Args:
        state: The weights.
        dst: A ``.safetensors`` file, with ``meta`` in its header; a ``.pkl`` file of
            detectron2; or a file of ``torch.save``.
        weights_only: Whether ``torch.save`` gets the weights alone, not
            ``dict(state_dict, meta)``.
        meta: Where the weights come from.
    """
    state = {key: value.contiguous() for key, value in state.items()}
    suffix, content = Path(dst).suffix, None
    if suffix == '.safetensors':
        from safetensors.torch import save
        content = save(state, metadata=meta)
    elif suffix == '.pkl':
        # Heuristics: detectron2 finds each weight by the end of its name, below
        # backbone.bottom_up (FPN) as well as in backbone and roi_heads.res5 (C4).
        content = pickle.dumps(dict(
            model={key: value.numpy() for key, value in state.items()},
            __author__='mmcontrast', matching_heuristics=True, meta=meta))
    with atomic_write(dst) as file:
        if content is None:
            torch.save(state if weights_only else dict(state_dict=state, meta=meta),
                       file)
        else:
            file.write(content)
