"""What all tests share: nobody talks to another machine."""

import pytest
from hypothesis import settings


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only loopback and Unix sockets can be connected to (pytest-socket, as if by its command-line options)."""
    settings.register_profile("shared-machine", deadline=None)  # how long a case takes says nothing there
    settings.load_profile("shared-machine")
    config.option.disable_socket = True
    config.option.allow_hosts = "127.0.0.1,::1"
    config.option.allow_unix_socket = True
