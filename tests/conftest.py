"""Eight virtual devices, strict shapes, and the same random bits everywhere."""

import os

# Inherited by the subprocesses that tests start, which choose their own number
# of devices; the settings below hold in this process only.
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_threefry_partitionable', True)
