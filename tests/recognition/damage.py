"""Pictures that are damaged, odd or dangerous, made from a good one; for tests."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image


def good(seed: int = 0) -> Image.Image:
    """Return a small page with some strokes."""
    rng = np.random.default_rng(seed)
    page = np.full((120, 200), 230, np.uint8)
    for _ in range(4):
        x, y = rng.integers(10, 180), rng.integers(10, 80)
        page[y : y + 30, x : x + 4] = 40
    return Image.fromarray(page)


def encoded(picture: Image.Image, kind: str, **settings: object) -> bytes:
    """Return the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def odd_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield whole files of unusual kinds."""
    page = good()
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB"):
        picture = page.convert("I").convert(mode) if mode in ("I;16", "I") else page.convert("RGB").convert(mode)
        for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM"):
            try:
                yield f"{mode}.{kind}", encoded(picture, kind)
            except (OSError, KeyError, ValueError):
                continue  # no such file exists
    for size in ((1, 1), (1, 50), (50, 1), (2, 2), (3, 1000), (1000, 3), (28, 28)):
        for value in (0, 255, 128):
            yield f"{size}-{value}", encoded(Image.new("L", size, value), "PNG")
    frames = [good(seed).convert("P") for seed in range(4)]
    yield "animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "animated.webp", encoded(good().convert("RGB"), "WEBP", save_all=True, append_images=[good(1).convert("RGB")])
    yield "pages.tiff", encoded(good(), "TIFF", save_all=True, append_images=[good(1), good(2)])
    for orientation in (*range(9), 77, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"exif-{orientation}.jpg", encoded(good().convert("RGB"), "JPEG", exif=exif.tobytes())
    yield "bad-exif.jpg", encoded(good().convert("RGB"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\1" * 40)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield small files that say they are huge."""
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (30_000, 30_000), (0, 0), (0, 5)):
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        row = zlib.compress(bytes(1 << 20))
        yield f"bomb-{width}x{height}.png", b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", row)
        yield (
            f"bomb-{width}x{height}.bmp",
            b"BM"
            + struct.pack("<IHHI", 100, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, min(width, 2**31 - 1), min(height, 2**31 - 1), 1, 24, 0, 0, 0, 0, 0, 0),
        )
        yield f"bomb-{width}x{height}.ppm", f"P6 {width} {height} 255\n".encode() + bytes(100)
        yield f"bomb-{width}x{height}.gif", b"GIF89a" + struct.pack("<HH", width % 65536, height % 65536) + bytes(40)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def no_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield files that are something else."""
    yield "empty.jpg", b""
    yield "text.jpg", b"This is a text and no picture.\n" * 20
    yield "html.png", b"<html><body>hello</body></html>"
    yield "svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    yield "eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n"
    yield "pickle.png", b"\x80\x04\x95cos\nsystem\n(S'true'\ntR."
    yield "zip.png", b"PK\x03\x04" + bytes(60)
    yield "zeros.jpg", bytes(5000)
    yield "half.pdf", b"%PDF-1.7\n1 0 obj << /Type /Catalog"
    yield "empty.pdf", b"%PDF-1.4\n%%EOF"
    for seed in range(20):
        yield f"noise-{seed}", np.random.default_rng(seed).bytes(2000)


def damaged(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield so many damaged files: truncated, bytes changed, pieces taken out or doubled."""
    whole = [
        encoded(good().convert("RGB"), "JPEG"),
        encoded(good().convert("RGB"), "JPEG", progressive=True),
        encoded(good(), "PNG"),
        encoded(good().convert("P"), "GIF"),
        encoded(good(), "TIFF"),
        encoded(good(), "TIFF", compression="tiff_lzw"),
        encoded(good().convert("RGB"), "WEBP"),
        encoded(good().convert("RGB"), "BMP"),
    ]
    rng = np.random.default_rng(7)
    for number in range(count):
        data = bytearray(whole[number % len(whole)])
        way = number // len(whole) % 4
        at = int(rng.integers(1, len(data)))
        if way == 0:
            data = data[:at]
        elif way == 1:
            for _ in range(int(rng.integers(1, 30))):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
        elif way == 2:
            del data[at : at + int(rng.integers(1, 200))]
        else:
            data[at:at] = data[at // 2 : at]
        yield f"damaged-{number}", bytes(data)
