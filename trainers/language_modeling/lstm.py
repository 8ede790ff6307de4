"""An LSTM layer whose products are as large as they can be.

Per layer and segment, the inputs of all steps are one product. In the loop over
the steps there is the recurrent product alone, and in the loop backwards only
that with the transposed recurrent kernel. The gradients of both kernels are one
product each, behind the loop, where TensorFlow's own would add up one a step.
"""

import keras
import tensorflow as tf

State = tuple[tf.Tensor, tf.Tensor]


class Lstm(keras.layers.Layer):
  """An LSTM over a segment, which goes on from a state.

  The weights are those of `keras.layers.LSTM`, in its order of gates: input,
  forget, cell, output. There is one bias a gate.

  Args:
    units: Width of the output.
    **kwargs: Of a Keras layer.
  """

  def __init__(self, units: int, **kwargs):
    super().__init__(**kwargs)
    self.units = units

  def build(self, input_shape: tuple[int | None, ...]) -> None:
    """Makes the weights, uniform in +-1 / sqrt(units) as PyTorch's are."""
    limit = self.units**-0.5

    def weight(name, *shape):
      return self.add_weight(
        name=name,
        shape=shape,
        initializer=keras.initializers.RandomUniform(-limit, limit),
      )

    self.kernel = weight("kernel", input_shape[-1], 4 * self.units)
    self.recurrent_kernel = weight(
      "recurrent_kernel", self.units, 4 * self.units
    )
    self.bias = weight("bias", 4 * self.units)

  def run(
    self,
    inputs: tf.Tensor,
    state: State,
    recurrent_mask: tf.Tensor | None = None,
  ) -> tuple[tf.Tensor, State]:
    """Returns the outputs of all steps, and the state behind the last.

    Args:
      inputs: Floats of the compute dtype, (steps, rows, width).
      state: h of the compute dtype and c, float32, both (rows, units).
      recurrent_mask: Multiplies the recurrent kernel, of its shape.

    Returns:
      Outputs of shape (steps, rows, units), and the state.
    """
    steps, rows, width = sizes(inputs)
    dtype = inputs.dtype
    # One large product, and not one a step.
    gates = tf.matmul(
      tf.reshape(inputs, (steps * rows, width)),
      _read(self.kernel, dtype),
    )
    # The gradient of `+` is three times as slow on CPUs.
    gates = tf.nn.bias_add(gates, _read(self.bias, dtype))
    recurrent = _read(self.recurrent_kernel, dtype)
    if recurrent_mask is not None:
      recurrent *= tf.cast(recurrent_mask, dtype)
    h, c = state
    outputs, c = recurrence(
      tf.reshape(gates, (steps, rows, 4 * self.units)), recurrent, h, c
    )
    return outputs, (outputs[-1], c)


@tf.custom_gradient
def recurrence(gates: tf.Tensor, kernel: tf.Tensor, h: tf.Tensor, c: tf.Tensor):
  """Returns the outputs of an LSTM, given what its inputs give to the gates.

  Args:
    gates: Floats (steps, rows, 4 units): inputs times kernel, plus bias.
    kernel: The recurrent kernel, of the dtype of `gates`, (units, 4 units).
    h: The output before the first step, of that dtype too, (rows, units).
    c: The cell state before the first step, float32 (rows, units).

  Returns:
    The outputs of all steps, of the dtype of `gates` and shape (steps, rows,
    units), and the cell state behind the last, float32 (rows, units).
  """
  steps, rows, width = sizes(gates)
  units, dtype = width // 4, gates.dtype

  def step(t, h, c, *arrays):
    z = tf.cast(gates[t] + tf.matmul(h, kernel), tf.float32)
    i, f, g, o = tf.split(z, 4, axis=-1)
    i, f, o = tf.sigmoid(i), tf.sigmoid(f), tf.sigmoid(o)
    g = tf.tanh(g)
    c = f * c + i * g
    h = tf.cast(o * tf.tanh(c), dtype)
    # One array a gate: what is joined here would be split again backwards.
    activated = [tf.cast(value, dtype) for value in (i, f, g, o)]
    values = (c, h, *activated)
    return t + 1, h, c, *[a.write(t, v) for a, v in zip(arrays, values)]

  def array(dtype=dtype):
    return _array(steps, rows, units, dtype)

  _, _, _, *arrays = _loop(
    step,
    steps,
    (
      tf.constant(0),
      h,
      c,
      array(tf.float32),
      *[array() for _ in range(5)],
    ),
  )
  cs, hs, *activated = [array.stack() for array in arrays]

  def gradient(d_hs, d_c):
    h_before = tf.concat([h[tf.newaxis], hs[:-1]], axis=0)
    c_before = tf.concat([c[tf.newaxis], cs[:-1]], axis=0)
    # Once, which makes the products of all steps 1.5 times as fast on CPUs.
    transposed = tf.transpose(kernel)

    def step_back(count, d_h, d_c, d_gates):
      t = steps - 1 - count
      i, f, g, o = [tf.cast(values[t], tf.float32) for values in activated]
      d_h = tf.cast(d_hs[t] + d_h, tf.float32)
      tanh_c = tf.tanh(cs[t])
      d_c += d_h * o * (1 - tanh_c * tanh_c)
      d_z = tf.concat(
        [
          d_c * g * i * (1 - i),
          d_c * c_before[t] * f * (1 - f),
          d_c * i * (1 - g * g),
          d_h * tanh_c * o * (1 - o),
        ],
        axis=-1,
      )
      d_z = tf.cast(d_z, dtype)
      d_h = tf.matmul(d_z, transposed)
      return count + 1, d_h, d_c * f, d_gates.write(t, d_z)

    _, d_h, d_c, d_gates = _loop(
      step_back,
      steps,
      (
        tf.constant(0),
        tf.zeros_like(h),
        d_c,
        _array(steps, rows, width, dtype),
      ),
    )
    d_gates = d_gates.stack()
    d_kernel = tf.matmul(
      tf.reshape(h_before, (steps * rows, units)),
      tf.reshape(d_gates, (steps * rows, width)),
      transpose_a=True,
    )
    return d_gates, d_kernel, d_h, d_c

  return (hs, cs[-1]), gradient


def sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
  """Returns the shape of a tensor, with scalars for what is not static."""
  dynamic = tf.shape(tensor)
  return [
    dynamic[axis] if size is None else size
    for axis, size in enumerate(tensor.shape)
  ]


def _read(variable, dtype):
  return tf.cast(tf.convert_to_tensor(variable.value), dtype)


def _array(steps, rows, width, dtype):
  static = None if tf.is_tensor(rows) else rows
  return tf.TensorArray(dtype, steps, element_shape=(static, width))


def _loop(body, steps, variables):
  return tf.while_loop(
    lambda count, *_: count < steps,
    body,
    variables,
    parallel_iterations=1,
    maximum_iterations=steps,  # Which XLA needs for the arrays' sizes.
  )
