#!/usr/bin/env bash
# tensorflow 2.21.0: tf.io.decode_image (and decode_bmp) of a BMP with a palette, 8
# bits a pixel, gives the numbers of the colors as if they were gray values, and no
# error. A classifier trains on them and sees other pictures than a person does.
#
# Pillow 12.0.0 and the file itself say: a red pixel. TensorFlow: the number that red
# has in the palette, three times, whatever the palette holds.
#
# Seen on 2026-11-28 (CPU, Python 3.11), an image of one red pixel:
#   Pillow:     [255, 0, 0]
#   TensorFlow: [0, 0, 0], since red is color number 0
# Fails if TensorFlow gives the color.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow==2.21.0 pillow==12.0.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import io

import tensorflow as tf
from PIL import Image

image = Image.new("P", (1, 1), 0)
image.putpalette([255, 0, 0] + [0, 0, 0] * 255)
file = io.BytesIO()
image.save(file, "BMP")
by_pillow = list(Image.open(file).convert("RGB").getpixel((0, 0)))
decoded = tf.io.decode_image(file.getvalue(), channels=3)
by_tensorflow = decoded.numpy()[0, 0].tolist()
print("Pillow:    ", by_pillow)
print("TensorFlow:", by_tensorflow)
assert by_pillow == [255, 0, 0], by_pillow
assert by_tensorflow == [0, 0, 0], by_tensorflow
PYTHON
