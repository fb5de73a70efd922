"""Threat Cloud: self-hosted, community-driven threat intelligence."""

from importlib.metadata import version

__version__ = version("threat-cloud")
