"""Read patch tokens and global tokens from backbones of any library."""
import torch
from torch import Tensor, nn

from ...models.inspection import eval_mode


def patch_tokens(encoder: nn.Module, images: Tensor) -> Tensor:
    """Tokens of the patches, or cells of the last map, in row-major order.

    Args:
        encoder: A backbone that returns a map (PlainViT, a ResNet,
            ``mmpretrain.VisionTransformer`` with ``out_type='featmap'``) or tokens
            (``out_type='raw'``, ViTs of timm by ``mmpretrain.TIMMBackbone``), whose
            class, distillation and register tokens are left out.
        images: (B, 3, H, W), normalized.

    Returns:
        (B, N, C).

    Raises:
        TypeError: If the encoder returns one vector an image.
    """
    output = _last_output(encoder, images)
    if output.ndim == 4:
        return output.flatten(2).transpose(1, 2)
    if output.ndim == 3:
        return output[:, num_prefix_tokens(encoder):]
    raise TypeError(
        f'background_encoder: {type(encoder).__name__} returns '
        f'{tuple(output.shape)}, a vector an image, but the fusion needs a token a '
        "patch. Set out_type='featmap', or for a model of timm global_pool=''.")


def global_token(encoder: nn.Module, images: Tensor) -> Tensor:
    """The class token, or the mean over patches where there is none.

    Args:
        encoder: As in :func:`patch_tokens`, or one that returns a vector an image
            (``out_type='cls_token'``), which is used as it is.
        images: (B, 3, H, W), normalized.

    Returns:
        (B, C).
    """
    output = _last_output(encoder, images)
    if output.ndim == 4:
        return output.mean((2, 3))
    if output.ndim == 2:
        return output
    if has_class_token(encoder):
        return output[:, 0]
    return output[:, num_prefix_tokens(encoder):].mean(1)


@torch.no_grad()
def token_shape(read, encoder: nn.Module, size: int) -> tuple[int, ...]:
    """Shape of what ``read``, one of the functions above, gets of one image.

    Args:
        read: :func:`patch_tokens` or :func:`global_token`.
        encoder: Keeps its mode and its running statistics.
        size: Rows and columns of the image.
    """
    parameter = next(encoder.parameters())
    with eval_mode(encoder):
        return tuple(read(encoder, parameter.new_zeros(1, 3, size, size)).shape)


def num_prefix_tokens(encoder: nn.Module) -> int:
    """Number of tokens before those of the patches."""
    of_timm = getattr(encoder, 'timm_model', None)
    return getattr(of_timm, 'num_prefix_tokens',
                   getattr(encoder, 'num_extra_tokens', 0))


def has_class_token(encoder: nn.Module) -> bool:
    """Whether the first token is a class token, not a register."""
    of_timm = getattr(encoder, 'timm_model', None)
    if of_timm is not None:
        return getattr(of_timm, 'has_class_token', num_prefix_tokens(encoder) > 0)
    return num_prefix_tokens(encoder) > 0 and getattr(encoder, 'with_cls_token', True)


def _last_output(encoder: nn.Module, images: Tensor) -> Tensor:
    output = encoder(images)
    output = output[-1] if isinstance(output, (tuple, list)) else output
    if not isinstance(output, Tensor):
        raise TypeError(
            f'{type(encoder).__name__} must return a tensor or a sequence of tensors, '
            f'got {type(output).__name__}.')
    # Swin and others of timm have channels last.
    of_timm = getattr(encoder, 'timm_model', None)
    if output.ndim == 4 and str(getattr(of_timm, 'output_fmt', '')) == 'NHWC':
        output = output.permute(0, 3, 1, 2)
    return output
