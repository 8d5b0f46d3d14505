"""Archives: what is in a good one, and how little a bad one can do."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.core.errors import NetwrightError
from netwright.data import _members, archive, extract, list_data
from netwright.data.extract import Limits, RefusedArchiveError
from netwright.data.listing import Listing
from netwright.data.table import listing, table_in
from tests.conftest import photo

OUTSIDE = "an archive writes nothing outside the folder it is unpacked into"
WHOLE = "an archive is unpacked wholly or not at all, with the reason"
BOUNDED = "an archive fills neither memory nor disk, whatever sizes it declares"
NOISE = random.Random(0).randbytes(4000)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    monkeypatch.setattr(os, "sync", lambda: None)


def zipped(path, contents, *, method=zipfile.ZIP_DEFLATED):
    """A zip of `{name: bytes}`; a name may be a ZipInfo."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in contents.items():
            file.writestr(name, data)
    return path


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def tarred(path, members, *, packed="", **options):
    """A tar of (name, bytes) and of TarInfos without content."""
    with tarfile.open(path, f"w:{packed}", **options) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return path


def _tar_of_names(path, names):
    return tarred(path, [(name, b"") for name in names])


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def patched(path, *changes):
    data = path.read_bytes()
    for old, new in changes:
        assert old in data and len(old) == len(new)
        data = data.replace(old, new)
    path.write_bytes(data)
    return path


def directory_patched(path, at, value):
    """A zip whose first directory row has another 4-byte number."""
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + at
    data[place : place + 4] = struct.pack("<L", value)
    path.write_bytes(data)
    return path


FLAGS, CHECKSUM, PACKED, SIZE, START = 6, 16, 20, 24, 42  # of a directory row: two bytes before flags are the version


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def top(root):
    return sorted(path.name for path in root.iterdir())


def content(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


GOOD = {"pets/cat/1.jpg": NOISE, "pets/cat/2.jpg": b"", "pets/dog/Ä ü.jpg": b"wau" * 99999, "pets/read me": b"hi"}


def good_archives():
    yield ".zip", lambda path: zipped(path, GOOD)
    yield ".zip", lambda path: zipped(path, GOOD, method=zipfile.ZIP_STORED)
    for packed, ending in (("", ".tar"), ("gz", ".tar.gz"), ("bz2", ".tar.bz2"), ("xz", ".tar.xz")):
        yield ending, lambda path, packed=packed: tarred(path, GOOD.items(), packed=packed)
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        yield ".tar", lambda path, form=form: tarred(path, GOOD.items(), format=form)


@pytest.mark.parametrize("ending, make", list(good_archives()))
def test_a_good_archive(tmp_path, ending, make):
    path = make(tmp_path / f"pets{ending}")
    assert archive.is_archive(path)
    extract.extract(path, tmp_path / "out")
    assert content(tmp_path / "out") == GOOD
    assert top(tmp_path) == ["out", path.name]


def test_folders_and_long_names(tmp_path):
    names = [f"{'a' * 90}/{'b' * 90}/{'c' * 90}.jpg", "./x/../x.jpg".replace("/..", ""), "plain.jpg"]
    folder = special("empty/", tarfile.DIRTYPE)
    path = tarred(tmp_path / "a.tar", [folder, *((name, name.encode()) for name in names)])
    extract.extract(path, tmp_path / "out")
    assert (tmp_path / "out/empty").is_dir()
    assert content(tmp_path / "out") == {name.removeprefix("./"): name.encode() for name in names}


def test_separators_of_windows(tmp_path):
    name = "cat!1.jpg"
    path = patched(zipped(tmp_path / "a.zip", {name: b"1"}), (b"cat!1.jpg", b"cat\\1.jpg"))
    extract.extract(path, tmp_path / "out")
    assert content(tmp_path / "out") == {"cat/1.jpg": b"1"}


def test_wide_numbers_of_large_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file, file.open("a.jpg", "w", force_zip64=True) as member:
        member.write(NOISE)
    extract.extract(tmp_path / "a.zip", tmp_path / "out")
    assert content(tmp_path / "out") == {"a.jpg": NOISE}


def test_a_directory_row_with_wide_numbers(tmp_path):
    """As in a zip beyond 4 GiB: size, packed size and place stand in an extra field."""
    path = tmp_path / "a.zip"
    zipped(path, {"a.jpg": NOISE}, method=zipfile.ZIP_STORED)
    data, size = path.read_bytes(), struct.pack("<L", len(NOISE))
    place = data.index(b"PK\1\2")
    row = bytearray(data[place : data.index(b"PK\5\6")])
    assert row[PACKED : PACKED + 4] == row[SIZE : SIZE + 4] == size
    row[PACKED : PACKED + 8] = row[START : START + 4] * 0 + b"\xff" * 8
    row[START : START + 4] = b"\xff" * 4
    wide = struct.pack("<HHQQQ", 1, 24, len(NOISE), len(NOISE), 0)
    row[30:32] = struct.pack("<H", len(wide))
    row += wide
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(row), place)
    place64 = struct.pack("<4sLQL", b"PK\6\7", 0, place + len(row), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(data[:place] + row + end64 + place64 + end)
    assert zipfile.ZipFile(path).read("a.jpg") == NOISE
    extract.extract(path, tmp_path / "out")
    assert content(tmp_path / "out") == {"a.jpg": NOISE}


@pytest.mark.parametrize("chunk", [64, 100, 257])
def test_contents_come_whole_in_small_chunks(tmp_path, monkeypatch, chunk):
    """At times zlib has taken in all of a member, and holds back output for which there was no room."""
    monkeypatch.setattr(_members, "CHUNK", chunk)
    draw = random.Random(0)
    contents = {f"{n}.jpg": draw.randbytes(3) * draw.randrange(1, 2000) for n in range(200)}
    extract.extract(zipped(tmp_path / "a.zip", contents), tmp_path / "out")
    assert content(tmp_path / "out") == contents


@pytest.mark.fault(67, BOUNDED)
@pytest.mark.parametrize("make", [lambda path, names: zipped(path, dict.fromkeys(names, b"")), _tar_of_names])
def test_members_are_not_kept(tmp_path, make):
    path = make(tmp_path / "a", [f"pets/{n:06d}.jpg" for n in range(5000)])
    tracemalloc.start()
    assert sum(1 for _ in _members.members(path)) == 5000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000 * 60 + 700_000  # a place for each member of a zip, and buffers


@pytest.mark.fault(67, "what an archive unpacks to is never executable, whatever mode it declares")
def test_modes_are_plain(tmp_path):
    loud = tarfile.TarInfo("run.sh")
    loud.mode = 0o6777
    path = tarred(tmp_path / "a.tar", [special("inner/", tarfile.DIRTYPE), loud])
    extract.extract(path, tmp_path / "out")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out/run.sh").stat().st_mode) == 0o644 & ~mask
    assert stat.S_IMODE((tmp_path / "out/inner").stat().st_mode) == 0o755 & ~mask


def overlapping(path):
    """Two directory rows that share one content, as in Fifield's bomb of 2019."""
    zipped(path, {"a.jpg": NOISE, "b.jpg": NOISE})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2") + START
    data[second : second + 4] = struct.pack("<L", 0)
    path.write_bytes(data)


def quoting(path):
    """A stored member whose content runs over the whole next member: its header is quoted."""
    zipped(path, {"a.jpg": NOISE, "b.jpg": NOISE}, method=zipfile.ZIP_STORED)
    for at in (PACKED, SIZE):
        directory_patched(path, at, 2 * len(NOISE) + 35)


def twice(path):
    with zipfile.ZipFile(path, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("a.jpg", b"1")
        file.writestr("a.jpg", b"2")


def fat_header(path, *before):
    """A pax header of 64 MB of zeros, which packs to 64 kB and which a reader would hold in memory."""
    text = b"0" * (64 << 20)
    header = special("x", tarfile.XHDTYPE)
    header.size = len(text)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(info.tobuf() for info in before)
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.write(text)
        file.write(tarfile.TarInfo("a.jpg").tobuf() + bytes(1024))


def large_folder():
    """A folder has no content; one that says otherwise must not make room for headers."""
    folder = special("a/", tarfile.DIRTYPE)
    folder.size = 1 << 30
    return folder


def many_headers(path):
    """Headers that each announce a header: a reader that calls itself for each runs out of stack."""
    header = special("x", tarfile.XHDTYPE)
    path.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) * 5000 + bytes(1024))


def fewer_rows(path):
    """The directory's length is damaged so that it ends after its first row."""
    data = bytearray(path.read_bytes())
    place, length = data.index(b"PK\5\6") + 12, len(data) - 22 - data.rindex(b"PK\1\2")
    data[place : place + 4] = struct.pack("<L", length)
    path.write_bytes(data)


def sparse(path):
    info = special("a.jpg", tarfile.GNUTYPE_SPARSE)
    tarred(path, [info], format=tarfile.GNU_FORMAT)


def sparse_by_header(path):
    """The newer way: a plain member whose pax header says that it is mostly holes."""
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "200000"}
    tarred(path, [info], format=tarfile.PAX_FORMAT)


def cut(path, end):
    path.write_bytes(path.read_bytes()[:end])


PLAIN = {"a.jpg": b"1"}
ENCRYPTED = ((b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1"), (b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"))
NUL = (b"a!.jpg", b"a\0.jpg")

EVIL = {
    "slip": ("zip", lambda p: zipped(p, {"../evil": b"1"}), "'../evil' leads out of its folder"),
    "deep slip": ("zip", lambda p: zipped(p, {"a/b/../../../evil": b"1"}), "leads out of its folder"),
    "slip in a tar": ("tar", lambda p: tarred(p, [("../evil", b"1")]), "leads out of its folder"),
    "folder that slips": ("tar", lambda p: tarred(p, [special("../evil/", tarfile.DIRTYPE)]), "leads out"),
    "absolute": ("zip", lambda p: zipped(p, {str(p.parent / "evil"): b"1"}), "has an absolute name"),
    "absolute in a tar": ("tar", lambda p: tarred(p, [(str(p.parent / "evil"), b"1")]), "has an absolute name"),
    "backslashes": ("zip", lambda p: patched(zipped(p, {"..!evil": b"1"}), (b"..!evil", b"..\\evil")), "leads out"),
    "drive": ("zip", lambda p: zipped(p, {"C:/evil": b"1"}), "names a drive"),
    "drive within": ("tar", lambda p: tarred(p, [("a/C:evil", b"1")]), "names a drive"),
    "NUL": ("zip", lambda p: patched(zipped(p, {"a!.jpg": b"1"}), NUL), "has a NUL in its name"),
    "link in a zip": ("zip", lambda p: zipped(p, {entry("a", stat.S_IFLNK | 0o777): ".."}), "'a' is a link"),
    "device in a zip": ("zip", lambda p: zipped(p, {entry("a", stat.S_IFCHR | 0o666): ""}), "is a device or pipe"),
    "through a link": (
        "tar",
        lambda p: tarred(p, [special("a", tarfile.SYMTYPE, ".."), ("a/evil", b"1")]),
        "'a' is a link, not a plain file",
    ),
    "link to a file": ("tar", lambda p: tarred(p, [special("a", tarfile.SYMTYPE, "b")]), "is a link"),
    "hard link": ("tar", lambda p: tarred(p, [special("a", tarfile.LNKTYPE, "/etc/passwd")]), "is a link"),
    "device": ("tar", lambda p: tarred(p, [special("a", tarfile.CHRTYPE)]), "is a device"),
    "disk": ("tar", lambda p: tarred(p, [special("a", tarfile.BLKTYPE)]), "is a device"),
    "pipe": ("tar", lambda p: tarred(p, [special("a", tarfile.FIFOTYPE)]), "is a pipe"),
    "sparse": ("tar", sparse, "of an unusual kind"),
    "sparse by its header": ("tar", sparse_by_header, "of an unusual kind"),
    "bomb": ("zip", lambda p: zipped(p, {"a": bytes(200_000)}), "more than 20 times as large as the archive"),
    "bomb in a tar": ("tar.gz", lambda p: tarred(p, [("a", bytes(200_000))], packed="gz"), "20 times as large"),
    "bomb of many": ("zip", lambda p: zipped(p, {f"{n}": bytes(40_000) for n in range(9)}), "20 times as large"),
    "overlapping": ("zip", overlapping, "members overlap"),
    "quoting": ("zip", quoting, "members overlap"),
    "declares much": ("zip", lambda p: directory_patched(zipped(p, PLAIN), SIZE, 2**31), "more than 300000 bytes"),
    "declares more": ("zip", lambda p: directory_patched(zipped(p, PLAIN), SIZE, 99), "1 bytes and declares 99"),
    "declares less": ("zip", lambda p: directory_patched(zipped(p, {"a": b"12"}), SIZE, 1), "more bytes than it decl"),
    "large": ("zip", lambda p: zipped(p, {"a": bytes(300_001)}), "'a' has more than 300000 bytes"),
    "large in all": ("tar", lambda p: tarred(p, [(f"{n}", bytes(250_000)) for n in range(3)]), "more than 500000"),
    "many": ("zip", lambda p: zipped(p, {f"{n}.jpg": b"" for n in range(41)}), "more than 40 members"),
    "many folders": ("tar", lambda p: tarred(p, [special(f"{n}/", tarfile.DIRTYPE) for n in range(41)]), "than 40"),
    "twice": ("zip", twice, "'a.jpg' comes twice"),
    "twice in a tar": ("tar", lambda p: tarred(p, [("a", b"1"), ("./a", b"2")]), "'a' comes twice"),
    "letter case": ("zip", lambda p: zipped(p, {"A.jpg": b"1", "a.JPG": b"2"}), "with other letter case"),
    "case of a folder": ("zip", lambda p: zipped(p, {"Cat/1": b"1", "cat/2": b"2"}), "'cat' comes twice"),
    "composed": ("zip", lambda p: zipped(p, {"\xe9": b"1", "e\u0301": b"2"}), "comes twice"),
    "file and folder": ("tar", lambda p: tarred(p, [("a", b"1"), ("a/b", b"2")]), "'a' comes twice"),
    "folder and file": ("tar", lambda p: tarred(p, [("a/b", b"1"), ("a", b"2")]), "'a' comes twice"),
    "no name": ("tar", lambda p: tarred(p, [("./", b"1")]), "comes twice|no file in it"),
    "deep": ("zip", lambda p: zipped(p, {"a/" * 65 + "b": b"1"}), "more than 64 folders deep"),
    "long": ("zip", lambda p: zipped(p, {"a" * 300: b"1"}), "[Nn]ame too long"),
    "encrypted": ("zip", lambda p: patched(zipped(p, PLAIN), *ENCRYPTED), "'a.jpg' is an encrypted file"),
    "other method": ("zip", lambda p: zipped(p, PLAIN, method=zipfile.ZIP_LZMA), "file packed by method 14"),
    "checksum": ("zip", lambda p: directory_patched(zipped(p, PLAIN), CHECKSUM, 7), "a checksum does not fit"),
    "cut zip": ("zip", lambda p: cut(zipped(p, {"a": NOISE}), -1), "it ends early"),
    "half a zip": ("zip", lambda p: cut(zipped(p, {"a": NOISE}), 2000), "it ends early"),
    "fewer rows": ("zip", lambda p: fewer_rows(zipped(p, {"a": b"1", "b": b"2"})), "not have as many members"),
    "half a tar": ("tar", lambda p: cut(tarred(p, [("a", NOISE), ("b", NOISE)]), 3000), "unexpected end of data"),
    "tar of one of two": ("tar", lambda p: cut(tarred(p, [("a", NOISE), ("b", NOISE)]), 4608), "end mark is missing"),
    "half a tar.gz": ("tar.gz", lambda p: cut(tarred(p, [("a", NOISE)], packed="gz"), 2000), "ended before"),
    "half a tar.xz": ("tar.xz", lambda p: cut(tarred(p, [("a", NOISE)], packed="xz"), 2000), "ended before"),
    "header bomb": ("tar.gz", fat_header, "bytes of headers before one member"),
    "header bomb after a folder": ("tar.gz", lambda p: fat_header(p, large_folder()), "bytes of headers before one"),
    "header chain": ("tar", many_headers, "no zip or tar archive that can be read"),
    "a page": ("zip", lambda p: p.write_text("<html>404</html>" * 99), "no zip or tar archive that can be read"),
    "empty file": ("zip", lambda p: p.write_bytes(b""), "no zip or tar archive that can be read"),
    "empty zip": ("zip", lambda p: zipped(p, {}), "there is no file in it"),
    "folders only": ("tar", lambda p: tarred(p, [special("a/", tarfile.DIRTYPE)]), "there is no file in it"),
}  # fmt: skip
SMALL = Limits(members=40, size=300_000, total=500_000, ratio=20, harmless=100_000)


@pytest.mark.fault(67, OUTSIDE)
@pytest.mark.fault(67, WHOLE)
@pytest.mark.fault(67, BOUNDED)
@pytest.mark.parametrize("name", EVIL)
def test_what_is_refused(tmp_path, name):
    ending, make, reason = EVIL[name]
    path = tmp_path / "deep/below" / f"a.{ending}"
    path.parent.mkdir(parents=True)
    make(path)
    before = everything(tmp_path)
    with pytest.raises(RefusedArchiveError, match=reason) as caught:
        extract.extract(path, path.parent / "out", limits=SMALL)
    assert everything(tmp_path) == before
    assert str(path) in caught.value.problem and caught.value.fix
    assert "\0" not in str(caught.value)


@pytest.mark.fault(67, BOUNDED)
def test_a_bomb_is_stopped_while_it_unpacks(tmp_path, monkeypatch):
    """The size it declares is within the limits: what counts is what was written."""
    path = zipped(tmp_path / "a.zip", {"a": bytes(60_000_000)})
    written = []
    monkeypatch.setattr(extract._Writer, "_check_written", _spied(extract._Writer._check_written, written))
    with pytest.raises(RefusedArchiveError, match="more than 200 times as large"):
        extract.extract(path, tmp_path / "out")
    assert 50_000_000 < max(written) <= 50_000_000 + (1 << 20)


def _spied(check, written):
    def checked(self, member, size):
        written.append(self.written)
        check(self, member, size)

    return checked


@pytest.mark.fault(67, BOUNDED)
def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {"a": NOISE})
    monkeypatch.setattr(extract.shutil, "disk_usage", lambda _: extract.shutil._ntuple_diskusage(9000, 8000, 1000))
    with pytest.raises(RefusedArchiveError, match="too small") as caught:
        extract.extract(path, tmp_path / "out")
    assert "NETWRIGHT_CACHE" in caught.value.fix and top(tmp_path) == ["a.zip"]


@pytest.mark.fault(67, WHOLE)
def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {"a": b"1", "b": b"2"})
    put = extract._Writer.put

    def stopped(self, member):
        if member.name == "b":
            raise KeyboardInterrupt
        put(self, member)

    monkeypatch.setattr(extract._Writer, "put", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract.extract(path, tmp_path / "out")
    assert top(tmp_path) == ["a.zip"]


@pytest.mark.fault(67, WHOLE)
def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path):
    path = zipped(tmp_path / "a.zip", PLAIN)
    old, young = tmp_path / ".out.1-aa.part", tmp_path / ".out.2-bb.part"
    for leftover in (old, young):
        (leftover / "inner").mkdir(parents=True)
    os.utime(old, (1, 1))
    extract.extract(path, tmp_path / "out")
    assert not old.exists() and young.exists()


def test_another_process_was_faster(tmp_path, monkeypatch):
    path, target = zipped(tmp_path / "a.zip", PLAIN), tmp_path / "out"
    monkeypatch.setattr(os, "sync", lambda: (target.mkdir(), (target / "theirs").write_bytes(b"")))
    extract.extract(path, target)
    assert everything(tmp_path) == ["a.zip", "out", "out/theirs"]


ODD = st.text(
    st.one_of(st.sampled_from("./\\:\0~aA\u0301 é\n"), st.characters(exclude_categories=("Cs",))), max_size=24
)
NAMES = st.lists(
    st.one_of(ODD, st.lists(st.sampled_from(["..", ".", "", "a", "C:", "\\.."]), max_size=6).map("/".join))
)
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)


@pytest.mark.fault(67, OUTSIDE)
@settings(max_examples=100, deadline=None)
@given(names=NAMES, kinds=st.lists(st.sampled_from(KINDS), min_size=1), target=ODD, pax=st.booleans())
def test_no_name_leads_outside(tmp_path_factory, names, kinds, target, pax):
    root = tmp_path_factory.mktemp("root")
    members = []
    for place, name in enumerate(names):
        kind = kinds[place % len(kinds)]
        links = kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)
        members.append((name, b"1") if kind == tarfile.REGTYPE else special(name, kind, target if links else ""))
    path = tarred(root / "a.tar", members, format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)
    _unpacked_inside(root, path)


@pytest.mark.fault(67, OUTSIDE)
@settings(max_examples=100, deadline=None)
@given(names=NAMES.filter(lambda names: len(set(names)) == len(names)))
def test_no_name_in_a_zip_leads_outside(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("root")
    path = root / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename = name  # set afterwards, zipfile writes it as it is
            file.writestr(info, b"1")
    _unpacked_inside(root, path)


def _unpacked_inside(root, path):
    try:
        extract.extract(path, root / "out")
    except RefusedArchiveError:
        assert top(root) == [path.name]
    else:
        assert top(root) == [path.name, "out"]
    for found in root.rglob("*"):
        assert found.is_file() or found.is_dir()
        assert not found.is_symlink()


@pytest.mark.fault(67, WHOLE)
@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["zip", "tar", "gz", "bz2", "xz"]),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
    end=st.floats(0, 1),
)
def test_damage_anywhere_is_an_error_for_users(tmp_path_factory, kind, places, end):
    root = tmp_path_factory.mktemp("root")
    path = root / f"a.{kind}"
    if kind == "zip":
        zipped(path, {"a/1": NOISE[:300], "a/2": b"22"})
    else:
        tarred(path, [("a/1", NOISE[:300]), ("a/2", b"22")], packed="" if kind == "tar" else kind)
    data = bytearray(path.read_bytes())
    for place, value in places:
        data[int(place * len(data))] = value
    path.write_bytes(data[: round(end * len(data))])
    _unpacked_inside(root, path)


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_that_is_no_tar(tmp_path, packed):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed(NOISE))
    with pytest.raises(RefusedArchiveError, match="no zip or tar archive that can be read"):
        extract.extract(path, tmp_path / "out")


# Into the cache


def store():
    return Path(os.environ["NETWRIGHT_CACHE"]) / "archives"


def test_unpacked_once(tmp_path, monkeypatch):
    path = zipped(tmp_path / "pets.zip", GOOD)
    folder = archive.opened(str(path))
    assert folder.name == "pets" and folder.parent.parent == store() and content(folder.parent) == GOOD

    def never(*_, **__):
        raise AssertionError("unpacked or read again")

    monkeypatch.setattr(archive, "extract", never)
    monkeypatch.setattr(archive, "file_digest", never)
    assert archive.opened(str(path)) == folder


def test_unpacked_again_only_when_the_content_changes(tmp_path):
    path = zipped(tmp_path / "pets.zip", {"a/1": b"1", "b/1": b"2"})
    first = archive.opened(str(path))
    os.utime(path, (1, 1))
    assert archive.opened(str(path)) == first
    copy = tmp_path / "copy.zip"
    copy.write_bytes(path.read_bytes())
    assert archive.opened(str(copy)) == first
    zipped(path, {"a/1": b"1", "b/1": b"3"})
    second = archive.opened(str(path))
    assert second != first and content(second) == {"a/1": b"1", "b/1": b"3"}


def test_unpacked_again_when_the_cache_was_emptied(tmp_path):
    path = zipped(tmp_path / "pets.zip", GOOD)
    folder = archive.opened(str(path))
    extract.shutil.rmtree(folder.parent)
    assert content(archive.opened(str(path)).parent) == GOOD


@pytest.mark.parametrize(
    "names, inner",
    [
        (["pets/a/1", "pets/b/1"], True),
        (["pets/a/1", "pets/b/1", "__MACOSX/pets/._1", ".DS_Store"], True),
        (["a/1", "b/1"], False),
        (["images/1", "metadata.csv"], False),
    ],
)
def test_the_folder_that_is_meant(tmp_path, names, inner):
    path = zipped(tmp_path / "x.zip", dict.fromkeys(names, b"1"))
    folder = archive.opened(str(path))
    assert (folder.name == "pets" and folder.parent.parent == store()) if inner else folder.parent == store()


def test_an_archive_that_is_not_there(tmp_path):
    with pytest.raises(NetwrightError, match="cannot be opened"):
        archive.opened(str(tmp_path / "pets.zip"))


@pytest.mark.fault(67, WHOLE)
def test_a_refused_archive_leaves_no_folder_in_the_cache(tmp_path):
    path = zipped(tmp_path / "a.zip", {"../evil": b"1"})
    for _ in range(2):
        with pytest.raises(RefusedArchiveError, match="leads out"):
            archive.opened(str(path))
    assert not any(entry.is_dir() for entry in store().iterdir())


def test_from_an_archive_to_a_listing(tmp_path):
    """A table and its pictures in one archive, all the way."""
    for number in range(3):
        photo(tmp_path / "in" / f"{number}.png", (9, 9, 9), number, (8, 8))
    pictures = {f"pets/{path.name}": path.read_bytes() for path in (tmp_path / "in").iterdir()}
    table = b"file_name,label\n0.png,cat\n1.png,dog\n2.png,cat\n"
    path = zipped(tmp_path / "pets.zip", {**pictures, "pets/metadata.csv": table})
    found = table_in(archive.opened(str(path)))
    assert found is not None
    data = listing(str(found))
    assert isinstance(data, Listing) and data.name == "pets" and data.labels.tolist() == [0, 1, 0]
    assert data.blobs.read(1) == pictures["pets/1.png"]


@pytest.mark.parametrize("inner", ["", "pets/"])
def test_the_only_table_in_an_archive_is_its_table(tmp_path, inner):
    rows = b"path,label\nx/0.png,cat\nx/1.png,dog\n"
    names = ("x/0.png", "x/1.png", "y/2.png")
    path = zipped(tmp_path / "pets.zip", {**{f"{inner}{name}": b"1" for name in names}, f"{inner}labels.csv": rows})
    data = list_data(str(path))
    assert data.name == "pets" and data.classes == ("cat", "dog") and list(data.blobs.names) == ["x/0.png", "x/1.png"]


@pytest.mark.parametrize(
    "extra", [{"sizes.csv": b"id,size\n0,3\n"}, {"a.csv": b"path,label\n", "b.csv": b"path,label\n"}]
)
def test_other_tables_in_an_archive_change_nothing(tmp_path, extra):
    path = zipped(tmp_path / "pets.zip", {"cat/0.png": b"1", "dog/1.png": b"2", **extra})
    assert list_data(str(path)).classes == ("cat", "dog")


@pytest.mark.fault(64, "nothing in an archive is ever unpickled or run")
def test_pickles_stay_files(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    evil = f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()
    path = zipped(tmp_path / "a.zip", {f"a/1.{ending}": evil for ending in ("pkl", "pt", "npy", "py", "pth")})
    folder = archive.opened(str(path))
    assert len(content(folder)) == 5 and not canary.exists()
