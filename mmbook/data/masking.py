"""Labels for free: hide some of the words and ask for them (掩码语言模型)."""

from __future__ import annotations

import torch
from torch import Tensor

from .batching import IGNORED


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

    Of the real words (special tokens are never chosen) ``share`` are asked for; at least
    one in each row that has any. Of those, ``replace`` become a random word, ``keep`` stay
    as they are, the others become the mask token. Labels are the words that were asked
    for, −100 elsewhere. Devlin et al. 2019, https://arxiv.org/abs/1810.04805.

    Parameters
    ----------
    ids, mask : (B, L) token numbers, and which of them are real.
    tokenizer : from transformers, with a mask token.
    generator : of the chance; None takes torch's global one.

    Raises
    ------
    ValueError
        If the tokenizer has no mask token, or a share is not in [0, 1].
    """
    if tokenizer.mask_token_id is None:
        raise ValueError("this tokenizer has no mask token to hide words behind")
    if not 0 < share <= 1 or keep < 0 or replace < 0 or keep + replace > 1:
        raise ValueError(
            "share must lie in (0, 1], and keep and replace must be shares whose sum is "
            f"at most 1; got share={share}, keep={keep}, replace={replace}"
        )
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    words = mask & ~torch.isin(ids, special)
    chance = torch.rand(ids.shape, generator=generator, device=ids.device)
    chance = chance.masked_fill(~words, 2)
    asked = (chance < share) | (chance == chance.min(1, keepdim=True).values)
    asked &= words
    labels = ids.masked_fill(~asked, IGNORED)
    fate = torch.rand(ids.shape, generator=generator, device=ids.device)
    hidden = asked & (fate >= keep + replace)
    changed = asked & (fate < replace)
    plain = torch.tensor(
        [n for n in range(len(tokenizer)) if n not in set(special.tolist())],
        device=ids.device,
    )
    draw = torch.randint(len(plain), ids.shape, generator=generator, device=ids.device)
    read = ids.masked_fill(hidden, tokenizer.mask_token_id)
    return torch.where(changed, plain[draw], read), labels
