"""Pictures and texts of every common kind give the right values, or name the file."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.data.files import (
    check_list,
    media_files,
    read_image,
    read_json,
    read_text,
    resample,
    split_numbers,
    square,
)


def gradient(wide=40, high=30, colour=0):
    pixels = np.zeros((high, wide, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 250, wide)
    pixels[..., 1] = np.linspace(0, 250, high)[:, None]
    pixels[..., 2] = colour
    return Image.fromarray(pixels)


def png(wide, high, bits, colour, data):
    """A PNG with these rows of bytes, whatever Pillow can write."""

    def chunk(name, body):
        sum_ = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + sum_

    header = struct.pack(">IIBBBBB", wide, high, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


# ------------------------------------------------------------------ what becomes of it


def test_oblong_pictures_are_cropped_to_their_middle():
    shown = square(gradient(wide=80, high=40), 20)  # columns 20 to 60
    assert shown.shape == (3, 20, 20) and shown.dtype == torch.uint8
    middle = np.linspace(0, 250, 80)[20:60].reshape(20, 2).mean(1)
    assert np.abs(shown[0, 10].numpy() - middle).max() < 3
    assert np.abs(shown[1, :, 5].numpy() - np.linspace(3, 247, 20)).max() < 4
    tall = square(gradient(wide=40, high=80), 20)
    assert tall.shape == (3, 20, 20) and tall[0, 10].float().std() > 60


def test_oblong_pictures_are_padded_with_black_bars():
    shown = square(gradient(wide=80, high=40, colour=200), 20, fit="pad")
    assert shown.shape == (3, 20, 20)
    assert not shown[:, :5].any() and not shown[:, 15:].any()
    whole = np.linspace(0, 250, 80).reshape(20, 4).mean(1)
    assert np.abs(shown[0, 10].numpy() - whole).max() < 4
    assert (shown[2, 6:14] > 195).all()


def test_oblong_pictures_keep_their_ratio_up_to_a_bound():
    assert square(gradient(wide=80, high=40), 20, fit="keep").shape == (3, 20, 40)
    assert square(gradient(wide=40, high=160), 20, fit="keep").shape == (3, 80, 20)
    with pytest.raises(ValueError, match=r"161 × 40 is too oblong .* 4:1 at most"):
        square(gradient(wide=161, high=40), 20, fit="keep")
    with pytest.raises(
        ValueError, match="fit must be crop, pad or keep; got 'stretch'"
    ):
        square(gradient(), 20, fit="stretch")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "PA", "CMYK", "1", "YCbCr"])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_other_kinds_of_pictures_become_rgb(mode, fit):
    picture = gradient().convert("L").convert(mode) if mode in ("LA", "PA") else None
    picture = picture or gradient().convert(mode)
    assert square(picture, 16, fit).shape == (3, 16, 16)


def test_a_picture_is_turned_as_the_camera_says(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    gradient(32, 32).save(tmp_path / "a.png", exif=turned)
    upright = square(gradient(32, 32), 32)
    assert torch.equal(read_image(tmp_path / "a.png", 32), upright.flip(1, 2))
    turned[0x0112] = 6  # lying on its side
    gradient(64, 32).save(tmp_path / "b.png", exif=turned)
    assert read_image(tmp_path / "b.png", 16, "keep").shape == (3, 32, 16)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_grey_of_16_bits_keeps_its_levels(tmp_path, ending):
    levels = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / f"deep.{ending}")
    shown = read_image(tmp_path / f"deep.{ending}", 16)
    assert torch.equal(shown[0].flatten(), torch.arange(256, dtype=torch.uint8))


@pytest.mark.parametrize("fit", ["crop", "pad", "keep"])
def test_oblong_grey_of_16_bits(tmp_path, fit):
    file = tmp_path / "deep.png"
    Image.fromarray(np.full((16, 24), 200 * 257, np.uint16)).save(file)
    shown = read_image(file, 8, fit)
    assert (shown[:, 4, 4] == 200).all() and set(shown.unique().tolist()) <= {0, 200}


def test_a_jpeg_for_printers_keeps_its_colours(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK").save(tmp_path / "a.jpg")
    shown = read_image(tmp_path / "a.jpg", 16)[:, 8, 8].int()
    assert (shown - torch.tensor([200, 40, 90])).abs().max() <= 6


def test_grey_of_16_bits_in_the_other_byte_order(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">4H", *[257 * v] * 4) for v in (0, 9, 99, 255))
    (tmp_path / "deep.png").write_bytes(png(4, 4, 16, 0, rows))
    shown = read_image(tmp_path / "deep.png", 4)
    assert shown[0, :, 0].tolist() == [0, 9, 99, 255]


def test_floats_from_0_to_1_are_scaled_and_others_refused(tmp_path):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "f.tif")
    shown = read_image(tmp_path / "f.tif", 16)
    assert torch.equal(shown[2].flatten(), torch.arange(256, dtype=torch.uint8))
    Image.fromarray(values * 900 - 3).save(tmp_path / "g.tif")
    with pytest.raises(ValueError, match=r"g.tif: grey in floats from -3 to 897: save"):
        read_image(tmp_path / "g.tif", 16)
    Image.fromarray((values * 70_000).astype(np.int32)).save(tmp_path / "h.tif")
    with pytest.raises(
        ValueError, match=r"h.tif: grey in 32-bit numbers from 0 to 700"
    ):
        read_image(tmp_path / "h.tif", 16)
    Image.fromarray(values * np.nan).save(tmp_path / "n.tif")
    with pytest.raises(ValueError, match=r"n.tif: grey in floats from nan"):
        read_image(tmp_path / "n.tif", 16)


def test_transparent_parts_become_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (0, 0, 4, 8))
    clear.save(tmp_path / "a.png")
    palette = clear.convert("P")
    assert palette.getpixel((7, 0)) != palette.getpixel((0, 0))
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((7, 0)))
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "c.png", transparency=(1, 2, 3))
    for name in "a.png", "b.png":
        shown = read_image(tmp_path / name, 8)
        assert (shown[:, :, 6:] == 255).all() and shown[0, 0, 0] > 190 > shown[1, 0, 0]
    assert (read_image(tmp_path / "c.png", 8) == 255).all()


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_of_an_animation_the_first_picture_is_read(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    file = tmp_path / f"a.{ending}"
    frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
    assert read_image(file, 8)[:, 4, 4].tolist() == [255, 0, 0]


def test_a_large_jpeg_gives_the_same_picture(tmp_path):
    gradient(1600, 1200).save(tmp_path / "a.jpg", quality=95)
    small = read_image(tmp_path / "a.jpg", 32)
    with Image.open(tmp_path / "a.jpg") as whole:
        exact = square(whole.convert("RGB"), 32)
    assert (small.int() - exact.int()).abs().max() <= 3


def test_a_line_of_pixels_is_never_blown_up(tmp_path, monkeypatch):
    file, made = tmp_path / "line.png", []
    file.write_bytes(png(1, 10_000, 8, 0, b"\0\x80" * 10_000))
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda image, to, *more: made.append(to) or resize(image, to, *more),
    )
    assert (read_image(file, 224) == 128).all()
    shown = read_image(file, 224, "pad")
    assert shown.shape == (3, 224, 224) and (shown[0].sum(0) > 0).sum() == 1
    with pytest.raises(ValueError, match=r"line.png: 1 × 10000 is too oblong"):
        read_image(file, 224, "keep")
    assert made and all(wide * high <= 224 * 224 for wide, high in made)


def test_a_picture_of_too_many_pixels_is_named(tmp_path):
    file = tmp_path / "bomb.png"
    file.write_bytes(png(20_000, 20_000, 1, 0, b"\0" * 9))
    with pytest.raises(ValueError, match=r"bomb.png: Image size \(400000000 pixels\)"):
        read_image(file, 224)


# ------------------------------------------------------------------ damaged files


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".gif", ".tif"])
def test_a_damaged_picture_is_named(tmp_path, damage, ending):
    file = tmp_path / f"broken{ending}"
    gradient(200, 200).save(file)
    whole = file.read_bytes()
    kinds = {"truncated": whole[: len(whole) // 2], "text": b"no picture", "empty": b""}
    file.write_bytes(kinds[damage])
    with pytest.raises(ValueError, match=f"cannot read the picture .*broken{ending}"):
        read_image(file, 16)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=f"no picture .*broken{ending}"):
        read_image(file, 16)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>404", "holds a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "run `git lfs pull`"),
        (b"\0\0\0\x18ftypheic" + bytes(60), "export it as JPEG"),
    ],
)
def test_what_is_in_the_place_of_a_picture_is_told(tmp_path, data, reason):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=f"a.jpg: .*{reason}"):
        read_image(tmp_path / "a.jpg", 16)


# ------------------------------------------------------------------ texts


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_with_any_mark_and_any_end_of_line(tmp_path, coding, end):
    text = end.join(["一只狗", "zwei Hunde, grün", ""])
    data = text.encode(coding)
    data = b"\xff\xfe" + data if coding == "utf-16-le" else data
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path / "a.txt") == "一只狗\nzwei Hunde, grün\n"


@pytest.mark.parametrize("coding", ["gb18030", "latin-1"])
def test_text_in_another_code_is_refused_by_name(tmp_path, coding):
    text = "一只狗" if coding == "gb18030" else "ein Hund, grün"
    (tmp_path / "a.txt").write_bytes(text.encode(coding))
    with pytest.raises(ValueError, match=r"a.txt is not in UTF-8 .* save it again"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes("a dog".encode("utf-16-le"))  # no mark
    with pytest.raises(ValueError, match=r"a.txt holds NUL signs: save it again"):
        read_text(tmp_path / "a.txt")


def test_json_with_a_mark_is_read_and_a_cut_one_named(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"图.jpg": "x"}), encoding="utf-8-sig")
    assert read_json(file) == {"图.jpg": "x"}
    file.write_text('{"0.jpg": "tr', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a.json is damaged or cut off"):
        read_json(file)


def test_hidden_files_are_not_pictures(tmp_path):
    for name in (
        "b.JPG",
        "._b.JPG",
        "__MACOSX/b.JPG",
        ".cache/c.png",
        "in/a.Png",
        "x.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert media_files(tmp_path) == [tmp_path / "b.JPG", tmp_path / "in" / "a.Png"]


def test_one_string_is_no_list():
    assert check_list(("a", "b"), "texts", "['a']") == ["a", "b"]
    with pytest.raises(
        ValueError, match=r"texts must be a list, as \['a'\]; got 'abc'"
    ):
        check_list("abc", "texts", "['a']")


# ------------------------------------------------------------------ numbers


def test_resampling_folds_nothing_over():
    wave = 0.5 * np.sin(2 * np.pi * 6_000 * np.arange(8_000) / 16_000)
    low = resample(wave.astype(np.float32), 16_000, 8_000)  # holds up to 4,000 Hz
    assert np.abs(low)[400:-400].max() < 0.01
    assert resample(wave, 16_000, 16_000) is wave


def test_numbers_in_two_groups():
    first, second = split_numbers(50, 0.2, seed=1)
    assert len(second) == 10 and sorted(first + second) == list(range(50))
    assert split_numbers(50, 0.2, seed=1)[1] == second != split_numbers(50, 0.2, 2)[1]


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001, 1.5, -0.5])
def test_a_split_with_an_empty_side_is_refused(share):
    with pytest.raises(ValueError, match=f"share of {share} of 2 pictures leaves"):
        split_numbers(2, share, seed=0)


def test_pictures_from_memory_are_read(tmp_path):
    file = io.BytesIO()
    gradient().save(file, "png")
    assert torch.equal(square(Image.open(file), 16), square(gradient(), 16))
