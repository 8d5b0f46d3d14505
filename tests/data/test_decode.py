"""Every picture file becomes one upright, opaque, 8-bit array, or gives one plain reason."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.data.decode import UnreadableImage, decode, header, quiet

DATA = os.environ.get("NETWRIGHT_DATA")
ROBUST = Path(DATA or ".") / "robust"
# Pillow reads these when asked twice, or reads what we refuse: the manifest's "ok" is not ours.
REFUSED_BY_US = {"pillow/broken_data_stream.png": "damaged PNG"}
REASONS = {
    "pillow/broken.png": "damaged PNG",
    "pillow/decompression_bomb.gif": "over the limit of 50 megapixels",
    "pillow/png_decompression_dos.png": "damaged PNG",
    "pillow/truncated_image.png": "truncated PNG",
    "pillow/truncated_jpeg.jpg": "truncated JPEG",
    "made_here/bomb_20000x20000_1bit.png": "20000×20000 px is over the limit of 50 megapixels",
    "made_here/cut_60pct.jpg": "truncated JPEG",
    "made_here/html_error_page.jpg": "not an image (starts with '<!DOCTYPE html>",
    "made_here/zero_bytes.jpg": "empty file",
    **REFUSED_BY_US,
}
Turn = Image.Transpose
# Laying a picture down by the inverse of what its orientation asks for.
UNDONE_BY = [
    *(None, None, Turn.FLIP_LEFT_RIGHT, Turn.ROTATE_180, Turn.FLIP_TOP_BOTTOM),
    *(Turn.TRANSPOSE, Turn.ROTATE_90, Turn.TRANSVERSE, Turn.ROTATE_270),
]


def manifest():
    path = ROBUST / "manifest_pillow13.json"
    return json.loads(path.read_text("utf-8")) if DATA and path.is_file() else []


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def photo(width=40, height=24):
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across], -1).astype(np.uint8))


def png(width, height, depth, colour, rows, *chunks):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [chunk(name, data) for name, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def reason_of(source):
    with pytest.raises(UnreadableImage) as caught:
        decode(source)
    return caught.value.reason


@pytest.mark.data
@pytest.mark.skipif(not manifest(), reason="NETWRIGHT_DATA does not name a folder with robust/")
def test_every_odd_file_reads_or_says_why():
    for entry in manifest():
        name, path = entry["file"], ROBUST / entry["file"]
        if name in REASONS:
            assert REASONS[name] in reason_of(path), name
            continue
        assert entry["ok"], name
        pixels = decode(path)
        size = entry["size"] if (entry.get("exif") or 1) < 5 else entry["size"][::-1]
        assert pixels.shape == (size[1], size[0], 3) and pixels.dtype == np.uint8, name
        assert decode(path, channels=1).shape == (size[1], size[0], 1), name


@pytest.mark.data
@pytest.mark.skipif(not manifest(), reason="NETWRIGHT_DATA does not name a folder with robust/")
def test_the_same_photo_in_other_formats_is_the_same_picture():
    reference = decode(ROBUST / "made_here/png_named_as.jpg").astype(int)
    assert np.abs(decode(ROBUST / "made_here/photo_cmyk.jpg") - reference).mean() < 2
    assert np.abs(decode(ROBUST / "made_here/photo_palette.png") - reference).mean() < 8
    hopper = decode(ROBUST / "pillow/hopper.png").astype(int)
    assert np.abs(decode(ROBUST / "pillow/hopper.Lab.tif") - hopper).mean() < 3
    for turned in (3, 6, 8):
        assert np.abs(decode(ROBUST / f"pillow/hopper_orientation_{turned}.jpg") - hopper).mean() < 12


@pytest.mark.fault(48, "each of the eight EXIF orientations gives the same upright picture, in four formats")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kind, orientation):
    upright = photo()
    undo = UNDONE_BY[orientation]
    laid = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(saved(laid, kind, exif=exif, **options)).astype(int)
    assert np.abs(pixels - np.asarray(upright)).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.fault(48, "EXIF data that cannot be read are no reason to lose the picture")
def test_corrupt_exif_costs_only_the_orientation():
    data = saved(photo(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage", quality=95)
    assert decode(data).shape == (24, 40, 3)


@pytest.mark.fault(51, "what is transparent shows the background and not what is hidden under it")
@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (9, 9, 9, 0)), ("LA", (9, 0))])
def test_what_is_transparent_shows_the_background(mode, colour):
    data = saved(Image.new(mode, (4, 4), colour), "PNG")
    assert (decode(data) == 255).all()
    assert (decode(data, background=(10, 20, 30)) == (10, 20, 30)).all()


def test_half_transparent_is_half_background():
    assert abs(int(decode(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG"))[0, 0, 0]) - 127) <= 1


@pytest.mark.fault(51, "transparent colours of a table show the background")
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entry(kind):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.putpixel((0, 0), 0)
    pixels = decode(saved(picture, kind, transparency=0))
    assert tuple(pixels[0, 0]) == (255, 255, 255) and tuple(pixels[3, 3]) == (200, 0, 0)


def test_transparency_of_each_palette_entry():
    picture = Image.new("P", (2, 1), 1)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.putpixel((0, 0), 0)
    pixels = decode(saved(picture, "PNG", transparency=b"\x00\xff"))
    assert pixels[0].tolist() == [[255, 255, 255], [200, 0, 0]]


def test_transparent_colour_without_palette():
    rgb = png(2, 1, 8, 2, bytes([0, 1, 2, 3, 9, 9, 9]), (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert decode(rgb)[0].tolist() == [[255, 255, 255], [9, 9, 9]]
    grey = png(2, 1, 8, 0, bytes([0, 7, 9]), (b"tRNS", struct.pack(">H", 7)))
    assert decode(grey, channels=1)[0].tolist() == [[255], [9]]
    bit = png(8, 1, 1, 0, bytes([0, 0b01010101]), (b"tRNS", struct.pack(">H", 0)))
    assert (decode(bit) == 255).all()
    deep = png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 300, 65535 // 2), (b"tRNS", struct.pack(">H", 300)))
    assert decode(deep, channels=1)[0].tolist() == [[255], [127]]


@pytest.mark.fault(49, "CMYK pictures have the colours they had: exact in TIFF, within 4 of 255 in JPEG")
@pytest.mark.parametrize(("kind", "most"), [("JPEG", 4), ("TIFF", 0)])
def test_cmyk_is_the_colour_it_was(kind, most):
    options = {"quality": 100} if kind == "JPEG" else {}
    data = saved(photo().convert("CMYK"), kind, **options)
    assert np.abs(decode(data).astype(int) - np.asarray(photo())).max() <= most


@pytest.mark.fault(50, "a 16-bit ramp keeps 256 levels; it is scaled by its depth and not by what it shows")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_their_levels(kind):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = decode(saved(Image.fromarray(ramp), kind), channels=1)
    assert len(np.unique(pixels)) == 256 and pixels.min() == 0 and pixels.max() == 255
    assert np.abs(pixels[..., 0] - ramp / 257).max() <= 0.5 + 1e-4
    half = decode(saved(Image.fromarray(ramp // 2), kind), channels=1)
    assert half.max() == 127 or half.max() == 128, "scaled by depth, not by content"


def twelve_bits(values):
    """A TIFF of one row with two values in three bytes."""
    pairs = np.asarray(values, int).reshape(-1, 2)
    strip = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    tags = [
        (256, len(values)),
        (257, 1),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 1),
        (279, len(strip)),
    ]
    strip += b"\0" * (len(strip) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.fault(50, "12 bits fill the scale from black to white")
def test_twelve_bits_fill_the_scale():
    assert decode(twelve_bits([0, 4095, 2048, 16]), channels=1)[0, :, 0].tolist() == [0, 255, 128, 1]


@pytest.mark.fault(50, "values of an unknown scale are refused and not guessed")
def test_floats_are_scaled_or_refused():
    def tiff(*values):
        return saved(Image.fromarray(np.array([values], np.float32)), "TIFF")

    assert decode(tiff(0, 0.5, 1), channels=1)[0, :, 0].tolist() == [0, 128, 255]
    assert decode(tiff(0, 100, 255), channels=1)[0, :, 0].tolist() == [0, 100, 255]
    assert "no known scale" in reason_of(tiff(-3, 0, 1e6))
    assert "no known scale" in reason_of(tiff(0, float("nan"), 1))


def test_one_bit():
    assert decode(saved(Image.new("1", (3, 2), 1), "PNG"), channels=1).tolist() == [[[255]] * 3] * 2


@pytest.mark.fault(52, "of an animation the first frame is read, in four formats")
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert tuple(decode(data)[4, 4]) == (255, 0, 0)


@pytest.mark.fault(47, "a bomb of 400 megapixels is refused without unpacking it: the process stays under 150 MB")
def test_a_bomb_is_refused_without_unpacking_it():
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's own peak memory")
    bomb = png(20000, 20000, 1, 0, b"\0" * (2501 * 100))
    script = (
        "import re, sys; from netwright.data.decode import decode, UnreadableImage\n"
        "try: decode(sys.stdin.buffer.read())\n"
        "except UnreadableImage as error: print(error.reason)\n"
        # Not getrusage, whose peak is inherited from the process that forked this one.
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    out = subprocess.run([sys.executable, "-c", script], input=bomb, capture_output=True, check=True).stdout.decode()
    reason, kilobytes = out.splitlines()
    assert reason == "20000×20000 px is over the limit of 50 megapixels"
    assert int(kilobytes) < 150_000


@pytest.mark.fault(47, "pictures over 50 megapixels or 25,000 px a side are refused before they are decoded")
def test_limits_below_pillows_own():
    assert reason_of(png(8000, 8000, 1, 0, b"")) == "8000×8000 px is over the limit of 50 megapixels"
    assert reason_of(png(30000, 2, 1, 0, b"")) == "30000×2 px is over the limit of 25000 px a side"
    assert reason_of(png(10000, 10000, 8, 2, b"")) == "10000×10000 px is over the limit of 50 megapixels"


@pytest.mark.fault(46, "a file that is no picture is refused with what it starts with")
def test_what_is_not_a_picture(tmp_path):
    page = tmp_path / "page.jpg"
    page.write_text("\n<html>\n<body>404</body></html>")
    assert reason_of(page) == "not an image (starts with '<html>')"
    empty = tmp_path / "empty.jpg"
    empty.touch()
    assert reason_of(empty) == "empty file"
    assert reason_of(b"\x00\x01\x02\x03 binary") == "not an image"
    assert reason_of(b"\0\0\0\x18ftypheic....") == "HEIC is not supported; save it as JPEG or PNG"
    assert "cannot be opened" in reason_of(tmp_path / "missing.jpg")


def test_the_error_names_file_reason_and_fix(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(UnreadableImage, match=r"cannot read .*empty\.jpg: empty file\n  fix: ") as caught:
        decode(path)
    assert caught.value.path == str(path)


@pytest.mark.fault(44, "a picture cut at 1, 30 or 90 % of its file is refused, in each of the seven formats")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_cut_files_are_refused(kind, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = saved(noise, kind)
    assert any(word in reason_of(data[: max(1, int(len(data) * share))]) for word in ("truncated", "damaged", "not an"))


def test_a_jpeg_is_called_truncated():
    data = saved(photo(200, 200), "JPEG", quality=95)
    assert reason_of(data[: len(data) // 2]).startswith("truncated JPEG")


def test_a_large_jpeg_is_decoded_small_but_never_below_twice_the_target():
    data = saved(photo(1600, 1200), "JPEG")
    assert decode(data, target=100).shape == (300, 400, 3)
    assert decode(data, target=200).shape == (600, 800, 3)
    assert decode(data, target=400).shape == (1200, 1600, 3)
    assert decode(saved(photo(1600, 1200), "PNG"), target=100).shape == (1200, 1600, 3)


def test_the_header_alone():
    assert header(saved(photo(), "JPEG")) == (40, 24, "RGB")


def test_threads_leave_the_warning_filters_as_they_were():
    before = list(warnings.filters)
    palette = saved(Image.new("P", (64, 64)), "PNG", transparency=b"\x00\xff")
    threads = [threading.Thread(target=lambda: [decode(palette) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_one_thread_that_leaves_does_not_unsilence_another():
    def warn():
        warnings.warn_explicit(
            "Corrupt EXIF data", UserWarning, "PIL/TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin"
        )

    with quiet:
        with quiet:
            warn()
        warn()
    with pytest.raises(UserWarning):
        warn()


def test_prediction_starts_without_heavy_imports():
    script = "import sys, netwright.data.preprocess; print([m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.decode()
    assert not [name for name in ("torch", "torchvision", "sklearn", "scipy", "pandas") if f"'{name}'" in loaded]
    script = "import sys, netwright.data; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"False"


def test_a_larger_limit_takes_what_pillow_refuses_without_decoding_it() -> None:
    large = png(15000, 15000, 1, 0, b"")
    assert header(large, most_megapixels=400) == (15000, 15000, "1")
    assert reason_of(large) == "15000×15000 px is over the limit of 50 megapixels"
    with pytest.raises(UnreadableImage, match="over the limit of 400 megapixels"):
        header(png(21000, 21000, 1, 0, b""), most_megapixels=400)
