"""Writes the tiny scans of this folder with nibabel and what MONAI's loader makes of them (see README.md)."""
import warnings

import nibabel as nib
import numpy as np
from monai.data.utils import correct_nifti_header_if_necessary

warnings.simplefilter("ignore")
rng = np.random.default_rng(7)
SHAPE = (5, 4, 3)
lines = []


def rotation(axis, angle):
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def affine(axis, angle, spacing, origin):
    a = np.eye(4)
    a[:3, :3] = rotation(axis, angle) @ np.diag(spacing)
    a[:3, 3] = origin
    return a


OBLIQUE = affine((1, 2, 3), 0.4, (0.7, 0.8, 2.5), (-31.7, 12.3, 101.9))


def make(name, data, fields, version=1, endian="<", base=OBLIQUE, codes=(1, 1)):
    """Writes one file with the header fields overwritten, as a careless program would leave them."""
    cls, single = ((nib.Nifti1Image, nib.Nifti1Header), (nib.Nifti2Image, nib.Nifti2Header))[version - 1]
    header = single(endianness=endian)
    header.set_data_dtype(data.dtype.newbyteorder(endian))
    header.set_data_shape(data.shape)
    header.set_qform(base, code=codes[0])
    header.set_sform(base, code=codes[1])
    header["vox_offset"] = 352 if version == 1 else 544
    for key, value in fields.items():
        header[key] = value
    path = name + ".nii"
    with open(path, "wb") as f:
        f.write(header.binaryblock + b"\0\0\0\0")
        f.write(data.astype(data.dtype.newbyteorder(endian)).tobytes(order="F"))
    image = correct_nifti_header_if_necessary(nib.load(path))
    values = np.asanyarray(image.dataobj, order="C").astype(np.float32)
    np.save(name + ".npy", values.reshape(values.shape[:3]))
    lines.append(name + " " + " ".join(float(v).hex() for v in image.affine[:3].ravel()))


for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
    info = np.iinfo(kind)
    data = rng.integers(info.min, info.max, SHAPE, dtype=kind, endpoint=True)
    data.flat[:2] = info.min, info.max
    make("type_" + kind, data, {})
    make("type_" + kind + "_be", data, {}, endian=">", version=2)
    make("scaled_" + kind, data, {"scl_slope": 0.1, "scl_inter": -3.7})
for kind in ("f4", "f8"):
    data = (rng.standard_normal(SHAPE) * 1000).astype(kind)
    make("type_" + kind, data, {}, version=2)
    make("type_" + kind + "_be", data, {}, endian=">")
    make("scaled_" + kind, data, {"scl_slope": 1.7, "scl_inter": 0.3}, version=2)

short = rng.integers(-1000, 1000, SHAPE, dtype="i2")
make("inter_only", short, {"scl_slope": 1, "scl_inter": -1024})
make("slope_nan", short, {"scl_slope": np.nan, "scl_inter": np.nan})
make("slope_zero", short, {"scl_slope": 0, "scl_inter": 5})

byte = rng.integers(0, 255, SHAPE, dtype="u1")
MIRRORED = OBLIQUE @ np.diag([1, 1, -1, 1])
HALF_TURN = affine((3, 1, 2), np.pi, (1.1, 0.9, 3.3), (5.5, -7.25, 0.1))
for version in (1, 2):
    v = f"_v{version}"
    make("qform_only" + v, byte, {}, version, codes=(1, 0))
    make("qform_mirrored" + v, byte, {}, version, base=MIRRORED, codes=(1, 0))
    make("qform_half_turn" + v, byte, {}, version, base=HALF_TURN, codes=(3, 0))
    make("neither" + v, byte, {}, version, codes=(0, 0))
    make("sform_contradicts" + v, byte, {"pixdim": [1, 1.5, 0.9, 3.1, 1, 1, 1, 1]}, version)
    make("sform_contradicts_uncoded" + v, byte, {"pixdim": [-1, 1.5, 0.9, 3.1, 1, 1, 1, 1]}, version, codes=(0, 2))
    make("sform_all_zero" + v, byte, {"srow_x": 0, "srow_y": 0, "srow_z": 0}, version)
    make("quaternion_too_long" + v, byte, {"quatern_b": 1.5, "pixdim": [1, 0.7, 0.8, 2.5, 1, 1, 1, 1]}, version)
make("sform_sheared", byte, {"srow_x": [1, 0.3, 0, 7], "srow_y": [0, 1, 0.2, 8], "srow_z": [0.1, 0, 2, 9]})
make("spacing_zero", byte, {"pixdim": [0, 0, 0.8, 0, 1, 1, 1, 1]}, codes=(1, 0))
make("spacing_negative", byte, {"pixdim": [5, -0.7, 0.8, -2.5, 1, 1, 1, 1]}, codes=(1, 0))
make("sform_code_unknown", byte, {"sform_code": 9, "srow_x": [1, 0, 0, 0]})
make("both_codes_unknown", byte, {"sform_code": -3, "qform_code": 77})
make("one_volume_4d", byte[..., None], {})
make("one_volume_4d_contradicts", byte[..., None], {"pixdim": [1, 1.5, 0.9, 3.1, 2, 1, 1, 1]})
shift = np.float32(np.sqrt(np.sum(np.float32(OBLIQUE[:3, 3]).astype(float) ** 2) + 1))
make("one_volume_4d_time_step", byte[..., None], {"pixdim": [1, 1.5, 0.9, 3.1, shift, 1, 1, 1]})
make("one_volume_5d_contradicts", byte[..., None, None], {"pixdim": [1, 1.5, 0.9, 3.1, 2, 1, 1, 1]})
make("off_by_1e-5", byte, {"pixdim": [1, 0.7 * (1 + 9e-6), 0.8 * (1 - 9e-6), 2.5, 1, 1, 1, 1]})
with open("affines.txt", "w") as f:
    f.write("\n".join(lines) + "\n")
