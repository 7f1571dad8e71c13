# Makes resize.json, files/ and files.json: python3 make.py. Needs numpy, Pillow, opencv-python-headless and tifffile
# (with imagecodecs). Versions used are in README.md.
import json
import os
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
files = os.path.join(here, "files")
os.makedirs(files, exist_ok=True)


def unit(name, count):
    start = 0x811C9DC5
    for byte in name.encode():
        start = (start ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = (start + np.arange(count, dtype=np.uint64) * 0x9E3779B1) & 0xFFFFFFFF
    x ^= x >> np.uint64(15)
    x = x * 0x2C1B3C6D & 0xFFFFFFFF
    x ^= x >> np.uint64(12)
    x = x * 0x297A2D39 & 0xFFFFFFFF
    return (x ^ x >> np.uint64(15)) / 4294967296.0


def noise(height, width, channels, top=256, dtype=np.uint8):
    values = np.floor(top * unit(f"image_{height}x{width}x{channels}", height * width * channels))
    shape = (height, width) if channels == 1 else (height, width, channels)
    return values.astype(dtype).reshape(shape)


def smooth(height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    planes = [(3 * x + 5 * y + 40 * c + 20 * np.sin(x / 3 + c)) % 200 + 20 for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8).squeeze()


# Resizing: (height, width, channels) -> (height, width).
sizes = [
    ((7, 5, 1), (3, 9)), ((31, 17, 3), (64, 40)), ((64, 48, 1), (32, 24)), ((64, 48, 3), (32, 24)), ((64, 48, 1), (32, 30)),
    ((1, 9, 1), (4, 20)), ((3, 11, 3), (5, 5)), ((200, 333, 1), (224, 224)), ((500, 40, 3), (37, 37)), ((9, 9, 1), (9, 20)),
    ((128, 64, 1), (1, 1)), ((90, 40, 3), (54, 24)), ((90, 46, 1), (54, 28)), ((200, 60, 1), (140, 42)), ((100, 90, 3), (100, 90)), ((255, 254, 1), (17, 253)), ((300, 301, 1), (100, 100)),
]
resized = []
for (height, width, channels), (to_height, to_width) in sizes:
    image = noise(height, width, channels)
    results = {
        "pillow_bilinear": np.asarray(Image.fromarray(image).resize((to_width, to_height), Image.BILINEAR)),
        "pillow_bicubic": np.asarray(Image.fromarray(image).resize((to_width, to_height), Image.BICUBIC)),
        "opencv_linear": cv2.resize(image, (to_width, to_height), interpolation=cv2.INTER_LINEAR),
        "opencv_nearest": cv2.resize(image, (to_width, to_height), interpolation=cv2.INTER_NEAREST),
    }
    for method, result in results.items():
        resized.append({
            "method": method, "from": [height, width, channels], "to": [to_height, to_width],
            "crc32": zlib.crc32(result.tobytes()), "first": result.reshape(-1)[:8].tolist(),
        })
with open(os.path.join(here, "resize.json"), "w") as out:
    out.write("[\n" + ",\n".join(" " + json.dumps(one) for one in resized) + "\n]\n")


# Files.
def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def interlaced_png(pixels, bits):
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for top, left, down, across in passes:
        part = pixels[top::down, left::across]
        if part.size:
            for row in part:
                raw += b"\0" + row.astype(">u2" if bits == 16 else np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")


def plain_png(rows, width, height, bits, colour, extra=b""):
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    raw = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + extra + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")


def packed_rows(values, bits):
    rows = []
    for row in values:
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


grey, colour = noise(13, 19, 1), noise(13, 19, 3)
deep = noise(13, 19, 1, 65536, np.uint16)
deep_colour = noise(13, 19, 3, 65536, np.uint16)
alpha = (np.arange(13 * 19) % 256).astype(np.uint8).reshape(13, 19)
records = []


def keep(name, photometric, bits, values=None, **more):
    """The pixels are Pillow's, as RGB, unless they are given."""
    path = os.path.join(files, name)
    if values is None:
        values = np.asarray(Image.open(path).convert("RGB"))
    record = {"file": name, "photometric": photometric, "bits": bits, "size": list(values.shape[:2])}
    if values.dtype == np.uint16:
        low, high = float(values.min()), float(values.max())
        ranged = np.floor(255 * (values - low) / (high - low) + 0.5).astype(np.uint8)
        record["range"] = zlib.crc32(ranged.tobytes())
        record["saturated"] = zlib.crc32(np.minimum(values, 255).astype(np.uint8).tobytes())
    else:
        record["rgb"] = zlib.crc32(np.ascontiguousarray(values, dtype=np.uint8).tobytes())
    records.append({**record, **more})


def bytes_to(name, content):
    with open(os.path.join(files, name), "wb") as out:
        out.write(content)


def saved(name, image, **options):
    image.save(os.path.join(files, name), **options)


for bits in (1, 2, 4):
    few = noise(13, 19, 1, 1 << bits)
    bytes_to(f"grey{bits}.png", plain_png(packed_rows(few, bits), 19, 13, bits, 0))
    keep(f"grey{bits}.png", "grey", bits)
saved("grey8.png", Image.fromarray(grey)); keep("grey8.png", "grey", 8)
saved("grey16.png", Image.fromarray(deep)); keep("grey16.png", "grey", 16, deep)
bytes_to("interlaced8.png", interlaced_png(grey, 8)); keep("interlaced8.png", "grey", 8)
bytes_to("interlaced16.png", interlaced_png(deep, 16)); keep("interlaced16.png", "grey", 16, deep)
saved("grey_alpha8.png", Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]))
keep("grey_alpha8.png", "grey and alpha", 8)
pairs = np.stack([deep, deep[::-1]], -1).astype(">u2")
bytes_to("grey_alpha16.png", plain_png([row.tobytes() for row in pairs], 19, 13, 16, 4))
keep("grey_alpha16.png", "grey and alpha", 16, deep)
saved("rgb8.png", Image.fromarray(colour)); keep("rgb8.png", "RGB", 8)
saved("rgba8.png", Image.fromarray(np.dstack([colour, alpha]))); keep("rgba8.png", "RGB and alpha", 8)
bytes_to("rgb16.png", plain_png([row.astype(">u2").tobytes() for row in deep_colour], 19, 13, 16, 2))
keep("rgb16.png", "RGB", 16, (deep_colour >> 8).astype(np.uint8))
saved("palette8.png", Image.fromarray(colour).quantize(200)); keep("palette8.png", "palette", 8)
saved("palette4.png", Image.fromarray(colour).quantize(11), transparency=3); keep("palette4.png", "palette", 4)
bytes_to("transparent_grey.png", plain_png([row.tobytes() for row in grey], 19, 13, 8, 0, png_chunk(b"tRNS", b"\0\x20")))
keep("transparent_grey.png", "grey", 8)

exif = Image.Exif()
exif[0x112] = 6
saved("grey.jpg", Image.fromarray(smooth(29, 37, 1)), quality=80); keep("grey.jpg", "grey", 8)
saved("rgb_444.jpg", Image.fromarray(smooth(29, 37, 3)), quality=85, subsampling=0); keep("rgb_444.jpg", "YCbCr", 8)
saved("rgb_420.jpg", Image.fromarray(smooth(29, 37, 3)), quality=85, subsampling=2); keep("rgb_420.jpg", "YCbCr", 8)
saved("progressive.jpg", Image.fromarray(smooth(29, 37, 3)), progressive=True); keep("progressive.jpg", "YCbCr", 8)
saved("turned.jpg", Image.fromarray(smooth(29, 37, 1)), exif=exif); keep("turned.jpg", "grey", 8, orientation=6)
saved("cmyk.jpg", Image.fromarray(smooth(29, 37, 3)).convert("CMYK"))

for name, compression in (("raw", None), ("lzw", "tiff_lzw"), ("deflate", "tiff_adobe_deflate"), ("packbits", "packbits")):
    saved(f"grey_{name}.tif", Image.fromarray(grey), compression=compression); keep(f"grey_{name}.tif", "grey", 8)
saved("rgb.tif", Image.fromarray(colour), compression="tiff_lzw"); keep("rgb.tif", "RGB", 8)
saved("rgba.tif", Image.fromarray(np.dstack([colour, alpha]))); keep("rgba.tif", "RGB", 8)
saved("bilevel.tif", Image.fromarray(grey > 99)); keep("bilevel.tif", "grey", 1)
saved("palette.tif", Image.fromarray(colour).quantize(200)); keep("palette.tif", "palette", 8)
saved("jpeg.tif", Image.fromarray(smooth(29, 37, 3)), compression="jpeg"); keep("jpeg.tif", "RGB", 8)
saved("pages.tif", Image.fromarray(grey), save_all=True, append_images=[Image.fromarray(255 - grey)])
keep("pages.tif", "grey", 8)
write = lambda name, values, **options: tifffile.imwrite(os.path.join(files, name), values, metadata=None, **options)
write("deep_little.tif", deep, byteorder="<"); keep("deep_little.tif", "grey", 16, deep)
write("deep_big.tif", deep, byteorder=">", compression="zlib"); keep("deep_big.tif", "grey", 16, deep)
write("big.tif", deep, bigtiff=True); keep("big.tif", "grey", 16, deep)
write("tiles.tif", noise(40, 50, 1, 65536, np.uint16), tile=(16, 32)); keep("tiles.tif", "grey", 16, noise(40, 50, 1, 65536, np.uint16))
write("tiles_rgb.tif", noise(40, 50, 3), tile=(16, 32), photometric="rgb", compression="zlib"); keep("tiles_rgb.tif", "RGB", 8)
write("planes.tif", np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate"); keep("planes.tif", "RGB", 8, colour)
write("ycbcr.tif", smooth(29, 37, 3), photometric="rgb", compression="jpeg"); keep("ycbcr.tif", "YCbCr", 8)
write("turned.tif", grey, extratags=[(274, "H", 1, 6, True)]); keep("turned.tif", "grey", 8, np.repeat(np.rot90(grey, -1)[..., None], 3, -1), orientation=6)  # Pillow 13 misreads it
write("white.tif", grey, photometric="miniswhite"); keep("white.tif", "minimum is white", 8, np.repeat(255 - grey[..., None], 3, -1))
write("float.tif", grey.astype(np.float32))
with open(os.path.join(here, "files.json"), "w") as out:
    out.write("[\n" + ",\n".join(" " + json.dumps(one) for one in records) + "\n]\n")
