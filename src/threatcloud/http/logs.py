"""Structured logs: JSON lines for machines, colours for a terminal; API keys never pass through here."""

import logging
import sys

import structlog


def configure_logs(level: str, log_format: str) -> None:
    """Sets up logging of the process, on standard error."""
    is_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    # Not the renderer's own choice of traceback: it shows local variables, which hold API keys and whole bodies.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if is_console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([] if is_console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
