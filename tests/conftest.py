"""What all tests share: nobody talks to another machine."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only loopback and Unix sockets can be connected to (pytest-socket, as if by its command-line options)."""
    config.option.disable_socket = True
    config.option.allow_hosts = "127.0.0.1,::1"
    config.option.allow_unix_socket = True
