"""Serve tools that still call setup.py; pyproject.toml has the metadata."""

from setuptools import setup

setup()
