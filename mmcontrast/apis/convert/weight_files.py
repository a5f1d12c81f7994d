"""Write weight files for other libraries, and note where the weights come from."""
import pickle
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ...io.atomic import atomic_write
from ...io.manifest import file_sha256, remove_manifest
from ...version import __version__


def provenance(source: str | Path) -> dict[str, str]:
    """Hash of the file that weights were read from, and the versions that read it."""
    return dict(source_sha256=file_sha256(source), mmcontrast_version=__version__,
                torch_version=str(torch.__version__))


def write_weights(state: dict[str, Tensor], dst: str | Path, meta: dict[str, str],
                  layout: Literal['weights', 'checkpoint', 'detectron2'] = 'weights'
                  ) -> None:
    """Write weights atomically.

    Args:
        state: The weights.
        dst: A ``.safetensors`` file, with ``meta`` in its header, or what ``layout``
            says.
        meta: Where the weights come from.
        layout: ``torch.save`` of the weights alone or of ``dict(state_dict, meta)``,
            or a pickle of arrays for detectron2.
    """
    state = {key: value.contiguous() for key, value in state.items()}
    content = None
    if Path(dst).suffix == '.safetensors':
        from safetensors.torch import save
        content = save(state, metadata=meta)
    elif layout == 'detectron2':
        # Heuristics: detectron2 finds each weight by the end of its name, below
        # backbone.bottom_up (FPN) as well as in backbone and roi_heads.res5 (C4).
        content = pickle.dumps(dict(
            model={key: value.numpy() for key, value in state.items()},
            __author__='mmcontrast', matching_heuristics=True, meta=meta))
    with atomic_write(dst) as file:
        if content is None:
            weights_only = layout == 'weights'
            torch.save(state if weights_only else dict(state_dict=state, meta=meta),
                       file)
        else:
            file.write(content)
        remove_manifest(dst)
