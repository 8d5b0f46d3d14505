"""One picture becomes the same array in training, evaluation and prediction."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from netwright.bundle.bundle import stored_of
from netwright.core.errors import NetwrightError
from netwright.data.decode import UnreadableImage
from netwright.data.examine import examine
from netwright.data.preprocess import PADDING, Preprocess


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(50, 80, 3), (80, 50, 3), (1, 1, 3), (1, 300, 3), (10, 10), (32, 32, 4)])
def test_everything_becomes_a_square(fit, channels, shape):
    preprocess = Preprocess.plain(28, 32, fit, channels)
    pixels = preprocess.stored(png(noise(*shape)))
    assert pixels.shape == preprocess.shape == (32, 32, channels) and pixels.dtype == np.uint8
    assert (preprocess.from_array(noise(*shape)) == pixels).all()


def test_file_cache_and_array_agree(tmp_path):
    """The promise that training and prediction see the same pixels."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise(300, 500, 3)).save(path)
    for fit in ("crop", "pad", "squash"):
        preprocess = Preprocess.plain(28, 32, fit)
        row, _ = examine(path.read_bytes(), path.name, preprocess)
        assert (row == preprocess.stored(path)).all()
        assert (row == preprocess.stored(path.read_bytes())).all()


def test_crop_keeps_the_centre_pad_keeps_all():
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, 20:40] = 255
    assert (Preprocess.plain(20, 20, "crop").from_array(stripes) == 255).all()
    padded = Preprocess.plain(60, 60, "pad").from_array(stripes)
    assert (padded[:20] == PADDING).all() and (padded[40:] == PADDING).all()
    assert (padded[20:40] == stripes).all()
    squashed = Preprocess.plain(20, 20, "squash").from_array(stripes)
    assert squashed[10, 10, 0] == 255 and squashed[10, 2, 0] == 0 and squashed[10, 18, 0] == 0


def test_the_right_size_is_not_resampled():
    array = noise(32, 32, 3)
    preprocess = Preprocess.plain(32, 32)
    assert (preprocess.from_array(array) == array).all()
    assert (preprocess.stored(png(array)) == array).all()
    assert preprocess.from_array(array).flags.writeable


def test_shrinking_averages():
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    small = Preprocess.plain(32, 32, channels=1).from_array(checks)
    assert np.abs(small.astype(int) - 127).max() <= 3


def test_crop_equals_resize_then_crop():
    array = np.asarray(Image.fromarray(noise(8, 12, 3)).resize((120, 80), Image.Resampling.BICUBIC))
    resized = np.asarray(Image.fromarray(array).resize((60, 40), Image.Resampling.BICUBIC))
    ours = Preprocess.plain(40, 40).from_array(array)
    assert np.abs(ours[:, 3:-3].astype(int) - resized[:, 13:-13]).max() <= 1


def test_the_centre_of_one_and_of_many():
    preprocess = Preprocess.plain(4, 7)
    images = noise(5, 7, 7, 3)
    assert (preprocess.centre(images) == images[:, 1:5, 1:5]).all()
    assert (preprocess.centre(images[0]) == images[0, 1:5, 1:5]).all()


def test_json_there_and_back():
    preprocess = Preprocess(160, 183, "pad", 3, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fit": "zoom"}, "fit"),
        ({"stored_size": 3}, "stored_size 3 is smaller than image_size 160"),
        ({"channels": 2}, "channels cannot be 2"),
        ({"mean": [0.5]}, "mean and std have 1 and 3 values"),
        ({"image_size": "big"}, "image_size cannot be 'big'"),
        ({"colour": 1}, "unknown option of preprocessing 'colour'"),
    ],
)
def test_json_is_checked(change, says):
    document = Preprocess.plain(160, 183).to_json()
    with pytest.raises(NetwrightError, match=says):
        Preprocess.from_json(document | change)
    with pytest.raises(NetwrightError, match="lacks image_size"):
        Preprocess.from_json({name: document[name] for name in document if name != "image_size"})


@pytest.mark.parametrize(
    ("array", "fix"),
    [
        (np.ones((8, 8), np.float32), r"\(x \* 255\)\.round\(\)\.astype\('uint8'\)"),
        (np.full((8, 8), 200, np.int64), r"x\.astype\('uint8'\)"),
        (np.full((8, 8), -3.0), "from -3 to -3"),
        (np.zeros((3, 8, 8), np.uint8), r"np\.moveaxis\(x, 0, -1\)"),
        (np.zeros(8, np.uint8), "give H W or H W C"),
        ([[1, 2]], "np.asarray"),
    ],
)
def test_other_arrays_are_refused_with_the_fix(array, fix):
    with pytest.raises(NetwrightError, match=fix):
        Preprocess.plain(8, 8).from_array(array)


def picture(mode):
    """A picture of 30×20 in a mode that numpy alone misreads or refuses."""
    colour = Image.fromarray(noise(20, 30, 3))
    if mode == "P":
        indexed = colour.quantize(16)
        indexed.info["transparency"] = 3
        return indexed, "PNG"
    if mode == "I;16":
        return Image.fromarray(noise(20, 30).astype(np.uint16) * 257), "PNG"
    if mode == "EXIF":
        colour.getexif()[274] = 6
        return colour, "JPEG"
    return colour.convert(mode), "JPEG" if mode == "CMYK" else "PNG"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["P", "CMYK", "EXIF", "1", "LA", "I;16"])
def test_an_open_picture_becomes_what_its_file_becomes(tmp_path, mode, channels):
    made, kind = picture(mode)
    made.save(tmp_path / "picture", kind, **({"exif": made.getexif()} if mode == "EXIF" else {}))
    preprocess = Preprocess.plain(14, 16, "pad", channels)
    stored = preprocess.stored(tmp_path / "picture")
    assert len(np.unique(stored)) > 2
    with Image.open(tmp_path / "picture") as opened:
        assert mode in (opened.mode, "EXIF")
        assert (opened.getexif().get(274) == 6) == (mode == "EXIF")
        assert (preprocess.from_picture(opened) == stored).all()
        assert (stored_of(preprocess, opened) == stored).all()
        assert (preprocess.from_picture(opened) == stored).all()  # the first time left it as it was


def test_a_picture_made_in_memory_is_read_too():
    array = noise(16, 16, 3)
    assert (Preprocess.plain(16, 16).from_picture(Image.fromarray(array)) == array).all()


def test_an_open_picture_that_cannot_be_read_says_why():
    whole = png(noise(40, 40, 3))
    cut = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    for bad, says in ((cut, "truncated PNG"), (Image.new("RGB", (0, 3)), "no pixels")):
        with pytest.raises(UnreadableImage, match=f"cannot read the picture: .*{says}"):
            Preprocess.plain(8, 8).from_picture(bad)
