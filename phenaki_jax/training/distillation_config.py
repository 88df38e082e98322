"""How a generator learns from another one, its teacher."""

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from phenaki_jax.config import validated


@validated
class DistillationConfig:
  """How a generator learns from a teacher, and not from the true tokens.

  Attributes:
    teacher: trained generator (a run directory, a bundle, or the name of one
      that ships with the package) that the student starts from and learns from;
      empty for none. The student has its tokenizer, networks and data, and its
      sampling settings without guidance.
    guidance: guidance scale of the teacher; that of its sampling settings, if
      a config gives none.
    temperature: the predictions of both are compared at this temperature, at
      which the student is sampled; that of the teacher's sampling settings, if
      a config gives none.
    steps: decoding steps of the student, whose tokens are matched step by step;
      0: the student learns to do without guidance, in as many steps.
    digest: of the teacher's parameters; filled in by training.
  """

  teacher: str = ''
  guidance: NonNegativeFloat = 1.0
  temperature: PositiveFloat = 1.0
  steps: NonNegativeInt = 0
  digest: str = ''
