"""What Lookahead needs of the backend of Keras rather than of Keras.

One module a backend, with the same functions; `tensorflow` documents them.
"""

import keras

_NAME = keras.backend.backend()
if _NAME == "tensorflow":
  from lookahead_tf.backends import tensorflow as backend
elif _NAME == "jax":
  from lookahead_tf.backends import jax as backend
elif _NAME == "torch":
  from lookahead_tf.backends import torch as backend
else:
  raise ImportError(
    "lookahead_tf needs the backend of Keras to be tensorflow, jax or torch. "
    f"Received: KERAS_BACKEND={_NAME}"
  )

__all__ = ["backend"]
