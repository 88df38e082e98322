"""The parts of `versus_phenaki_pytorch.py`."""
