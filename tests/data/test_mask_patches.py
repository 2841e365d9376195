"""Hidden patches: as many as asked, where the mask says, and nothing else changed."""

import pytest
import torch

from mmbook.data import mask_patches

IMAGE = torch.rand(40, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def hide(share=0.6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mask_patches(IMAGE, 8, share, generator)


def test_what_is_hidden_is_painted_and_what_is_not_is_left():
    shown, hidden = hide()
    for picture, before, row in zip(shown, IMAGE, hidden, strict=True):
        for number, gone in enumerate(row):  # row by row: 2 × 3 squares
            y, x = 8 * (number // 3), 8 * (number % 3)
            square = picture[:, y : y + 8, x : x + 8]
            if gone:
                assert torch.equal(square, torch.full_like(square, 0.5))
            else:
                assert torch.equal(square, before[:, y : y + 8, x : x + 8])


def test_each_picture_hides_the_same_number():
    assert (hide(0.5)[1].sum(1) == 3).all()
    assert (hide(0.6)[1].sum(1) == 4).all()  # 3.6 of 6


def test_the_number_of_a_patch_is_that_of_unfold():
    shown, hidden = hide()
    squares = torch.nn.functional.unfold(shown, 8, stride=8).transpose(1, 2)
    assert torch.equal((squares == 0.5).all(-1), hidden)


def test_chance_is_the_generators_and_every_patch_gets_its_turn():
    before = IMAGE.clone()
    first, again, other = hide()[1], hide()[1], hide(seed=1)[1]
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(IMAGE, before)
    many = torch.cat([hide(0.5, seed)[1] for seed in range(50)]).float().mean(0)
    assert (many - 0.5).abs().max() < 0.06  # 2000 coins: deviation 0.011


def test_errors_say_what_would_be_right():
    with pytest.raises(ValueError, match=r"multiples.*\(40, 3, 16, 24\) and 7"):
        mask_patches(IMAGE, 7)
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        mask_patches(IMAGE[0], 8)
    for share, count in (0.0, 0), (1.0, 6), (0.05, 0):
        with pytest.raises(ValueError, match=f"hides {count} of 6"):
            mask_patches(IMAGE, 8, share)
