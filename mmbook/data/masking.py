"""Labels for free: hide words or patches, and ask for them (掩码语言模型, 掩码图像建模)."""

import torch
from torch import Tensor

from ..tokens import IGNORED


def mask_words(
    ids: Tensor,
    mask: Tensor,
    tokenizer,
    share: float = 0.15,
    generator: torch.Generator | None = None,
    keep: float = 0.1,
    replace: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """What the model reads, and what it has to find: (B, L) and (B, L).

    Of the real words of ``ids``, ``share`` are asked for, one in a row or more; of
    those, ``replace`` become a random word, ``keep`` stay, the others the mask. Labels
    are −100 elsewhere. Devlin et al., https://arxiv.org/abs/1810.04805; chapter 2.1.
    """
    if tokenizer.mask_token_id is None:
        raise ValueError("this tokenizer has no mask token to hide words behind")
    if not 0 < share <= 1 or keep < 0 or replace < 0 or keep + replace > 1:
        raise ValueError(
            "share must lie in (0, 1], keep and replace be 0 or more, their sum at most "
            f"1; got share={share}, keep={keep}, replace={replace}"
        )
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    words = mask & ~torch.isin(ids, special)
    chance = torch.rand(ids.shape, generator=generator, device=ids.device)
    chance = chance.masked_fill(~words, 2)
    asked = words & ((chance < share) | (chance == chance.amin(1, keepdim=True)))
    fate = torch.rand(ids.shape, generator=generator, device=ids.device)
    hidden, changed = asked & (fate >= keep + replace), asked & (fate < replace)
    every = torch.arange(len(tokenizer), device=ids.device)
    plain = every[~torch.isin(every, special)]
    draw = torch.randint(len(plain), ids.shape, generator=generator, device=ids.device)
    read = ids.masked_fill(hidden, tokenizer.mask_token_id)
    return torch.where(changed, plain[draw], read), ids.masked_fill(~asked, IGNORED)


def mask_patches(
    image: Tensor,
    patch: int,
    share: float = 0.6,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Pictures with squares hidden, and which ones: (B, 3, H, W) and (B, N) bool.

    Of N squares of side ``patch``, row by row, ``share`` are painted grey in each
    picture. A masked autoencoder paints them again: He et al. 2022,
    https://arxiv.org/abs/2111.06377 (who leave them out; as here, Xie et al. 2022,
    https://arxiv.org/abs/2111.09886). Chapter 2.7.
    """
    height, width = image.shape[-2:]
    if image.ndim != 4 or patch < 1 or height % patch or width % patch:
        given = f"{tuple(image.shape)} and {patch}"
        raise ValueError(f"image must be (B, 3, H, W), multiples of patch; got {given}")
    rows, columns = height // patch, width // patch
    count = round(share * rows * columns)
    if not 0 < count < rows * columns:
        raise ValueError(f"share={share} hides {count} of {rows * columns} patches")
    size = (len(image), rows * columns)
    chance = torch.rand(size, generator=generator, device=image.device)
    hidden = torch.zeros(size, dtype=torch.bool, device=image.device)
    hidden.scatter_(1, chance.topk(count, 1).indices, True)
    cover = hidden.view(-1, 1, rows, columns)  # (B, N) → (B, 1, H / patch, W / patch)
    cover = cover.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return image.masked_fill(cover, 0.5), hidden
